"""What can be said to a question about the scene without inventing.

Hides the sentence that answers each kind of question from what was found. Law: a sentence names
nothing that was not found, and says so where a question wants to know more.
"""

from collections.abc import Callable
from typing import Final

from omni.dialog.asked import ANYTHING, Asked, Kind, is_about_picture, kind_of, readings
from omni.dialog.describing import listing, name_of, place_of, plural_of, with_article
from omni.dialog.other_tongues import answer_elsewhere
from omni.dialog.scene import SURE, describe
from omni.types import Seen, Thing

_NO_MORE: Final = "I cannot tell more than that"


def answer(text: str, seen: Seen | None) -> str:
    """The sentence that answers a question about sight; empty if `text` asks for nothing of it.

    `seen` is what is in view, None without a camera: then that is the answer.
    """
    for asked in readings(text):
        if seen is None:
            if asked.is_plain:
                return "I cannot see anything, because no camera is on."
        elif said := _FACTS[asked.kind](seen, asked):
            return said
    return answer_elsewhere(text, seen)


def answer_to_picture(text: str, seen: Seen) -> str:
    """The same for words that came with the picture `seen`: what it does not tell is not guessed.
    Empty for other wishes, such as a poem about it."""
    if said := answer(text, seen):
        return said
    for asked in readings(text):
        return _nothing_of(seen, asked.label)
    is_page = bool(seen.text) and not seen.things
    return f"{summary(seen)} {_NO_MORE}." if is_page or is_about_picture(text) else ""


def summary(seen: Seen) -> str:
    """All that is in view, in a sentence or two."""
    things = describe(seen.things)
    if seen.text and not things:
        return f"I see text. It reads: “{seen.text}”."
    reading = f" It reads: “{seen.text}”." if seen.text else ""
    return f"I see {things or 'nothing that I recognise'}.{reading}"


def find(things: tuple[Thing, ...], label: str) -> list[Thing]:
    """Those that `label` means; anything if it is “it” or “things”."""
    colour, kind = label.removesuffix(kind_of(label)).strip(), kind_of(label)
    return [
        thing
        for thing in things
        if (kind in ANYTHING or thing.label == kind or thing.label.endswith(f" {kind}"))
        and colour in ("", thing.colour)
    ]


# ---- answers, one for each kind of question


def _scene(seen: Seen, _: Asked) -> str:
    before = listing(with_article(label) for label in seen.gone)
    return summary(seen) + (f" A moment ago I saw {before}." if before else "")


def _text(seen: Seen, _: Asked) -> str:
    return f"It reads: “{seen.text}”." if seen.text else "I see no text that I can read."


def _count(seen: Seen, asked: Asked) -> str:
    number = _number_of(seen, asked.label)
    if number:
        return f"I see {plural_of('thing' if asked.label in ANYTHING else asked.label, number)}."
    return _nothing_of(seen, asked.label)


def _tally(seen: Seen, asked: Asked) -> str:
    is_so = _number_of(seen, asked.label) == asked.number
    return f"Yes, {plural_of(asked.label, asked.number)}." if is_so else _count(seen, asked)


def _change(seen: Seen, _: Asked) -> str:
    said = listing(seen.changes[-3:])
    return f"{said[0].upper()}{said[1:]}." if said else "I noticed no change."


def _held(seen: Seen, _: Asked) -> str:
    """What is in somebody's box, or the thing that is held up to the camera."""
    people = find(seen.things, "person")
    others = [t for t in seen.things if t.label != "person" and t.label != "dining table"]
    others.sort(key=lambda thing: not place_of(thing))  # a hand does not hold the whole picture
    near = [t for t in others if any(_is_within(t, person) for person in people)]
    if held := next(iter(near or ([] if people else others)), None):
        return f"You seem to be holding {with_article(name_of(held))}."
    return "I cannot tell what you are holding."


def _colour(seen: Seen, asked: Asked) -> str:
    for thing in find(seen.things, asked.label):
        if thing.colour:
            return f"The {thing.label} is {thing.colour}."
    return "I am not sure about its colour."


def _presence(seen: Seen, asked: Asked) -> str:
    found = find(seen.things, asked.label)
    if any(thing.probability >= SURE for thing in found):
        return f"Yes, I see {describe(tuple(found))}."
    if found:
        return f"Perhaps {with_article(asked.label)}, but I am not sure."
    return _nothing_of(seen, asked.label)


def _place(seen: Seen, asked: Asked) -> str:
    found = find(seen.things, asked.label)
    if not found:
        return _nothing_of(seen, asked.label)
    return f"The {name_of(found[0])} is {place_of(found[0]) or 'right in front of me'}."


def _inside(seen: Seen, asked: Asked) -> str:
    """What overlaps a thing: which of the two is in the other cannot be told."""
    around = find(seen.things, asked.label)
    if not around:
        return _nothing_of(seen, asked.label)
    others = [thing for thing in seen.things if thing.label != around[0].label]
    near = [t for t in others if _is_within(t, around[0]) or _is_within(around[0], t)]
    return f"I see {describe(tuple(near))}." if near else _no_more(around)


def _worn(seen: Seen, _: Asked) -> str:
    colours = [f"{person.colour} clothes" for person in find(seen.things, "person")]
    said = listing(colour for colour in colours if not colour.startswith(" "))
    return f"I see {said}, but {_NO_MORE}." if said else "I cannot tell."


def _who(seen: Seen, asked: Asked) -> str:
    people = tuple(find(seen.things, "person"))
    if not people:
        return _scene(seen, asked)
    return f"I see {describe(people)}, but I cannot tell who it is."


def _state(seen: Seen, asked: Asked) -> str:
    """It is in view; whether it sleeps or laughs is not seen. Out of view, who knows what is
    meant?"""
    found = find(seen.things, asked.label)
    return _no_more(found) if found else ""


def _no_more(things: list[Thing]) -> str:
    return f"I see {describe(tuple(things))}, but {_NO_MORE}."


def _number_of(seen: Seen, label: str) -> int:
    return sum(thing.probability >= SURE for thing in find(seen.things, label))


def _nothing_of(seen: Seen, label: str) -> str:
    things = describe(seen.things)
    return f"I cannot make out {with_article(label)}{f', only {things}' if things else ''}."


def _is_within(thing: Thing, other: Thing) -> bool:
    x, y = (thing.box[0] + thing.box[2]) / 2, (thing.box[1] + thing.box[3]) / 2
    left, top, right, bottom = other.box
    return left <= x <= right and top <= y <= bottom


_FACTS: Final[dict[Kind, Callable[[Seen, Asked], str]]] = {
    "scene": _scene, "text": _text, "count": _count, "tally": _tally, "presence": _presence,
    "place": _place, "colour": _colour, "inside": _inside, "held": _held, "worn": _worn,
    "who": _who, "change": _change, "state": _state,
}  # fmt: skip
