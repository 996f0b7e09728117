"""What a user wants to know of the scene, and what can be said about it without inventing.

Hides how questions about sight are told from others (in English), and the sentence that answers
each from what was found. The sentence goes into the prompt, so a small LLM need only say it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from omni.dialog.describing import listing, name_of, place_of, plural_of, singular, with_article
from omni.dialog.scene import SURE, describe
from omni.media.coco import LABELS
from omni.media.colour import COLOURS
from omni.types import Seen, Thing

_NOUN: Final = (
    r"(?:(?:an?|the|my|your|any|some|one|this|that)\s+)?(?P<noun>[a-z]+(?: [a-z]+){0,2}?)"
    r"(?=\s+(?:in|on|at|there|here|do|are|is|am|you|can|now|right|again|please|comes?|appears?|"
    r"shows?|walks?|enters?|and|or|to|with|near|next|behind|around)\b|[.,?!]|$)"
)
_IN_VIEW: Final = (
    r"(?: (?:are|is) (?:there|here|in|on)\b|(?: do| can) you (?:\w+ )?see\b| am i\b|[?.!]|$)"
)

_SYNONYMS: Final = {
    "someone": "person", "somebody": "person", "anyone": "person", "anybody": "person",
    "man": "person", "woman": "person", "human": "person", "child": "person", "kid": "person",
    "boy": "person", "girl": "person", "mug": "cup", "glass": "wine glass", "phone": "cell phone",
    "smartphone": "cell phone", "mobile": "cell phone", "bike": "bicycle", "cycle": "bicycle",
    "motorbike": "motorcycle", "television": "TV", "tv": "TV", "plant": "potted plant",
    "table": "dining table", "desk": "dining table", "sofa": "couch", "plane": "airplane",
    "aeroplane": "airplane", "fridge": "refrigerator", "coffee": "espresso", "kitten": "cat",
    "puppy": "dog", "bag": "handbag", "computer": "laptop", "van": "car", "taxi": "car",
}  # fmt: skip
_ANYTHING: Final = ("thing", "object", "item", "it", "this", "that", "these", "those")
_NOTHING: Final = ("i", "you", "we", "they", "he", "she", "it")
_KNOWN: Final = {*LABELS, "espresso", "fish", "snake", "spider", "rabbit", "monkey", "finger",
                 "hand", *_ANYTHING}  # fmt: skip

Fact = Callable[[Seen, str], str]


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """`is_plain`: it is about sight even if there is no camera. `is_of_known`: only if it names
    something that can be seen ("is there a problem?" does not)."""

    pattern: re.Pattern[str]
    fact: Fact
    is_plain: bool = True
    is_of_known: bool = False


def answer(text: str, seen: Seen | None) -> str:
    """The sentence that answers a question about sight; empty if `text` asks for nothing of it.

    `seen` is what is in view, None without a camera: then that is the answer.
    """
    words = text.strip().lower()
    for question in _QUESTIONS:
        found = question.pattern.search(words)
        label = thing_called(found.groupdict().get("noun") or "it") if found else ""
        if not label or (question.is_of_known and _kind(label) not in _KNOWN):
            continue
        if seen is not None:
            return question.fact(seen, label)
        if question.is_plain:
            return "I cannot see anything, because no camera is on."
    return ""


def summary(seen: Seen) -> str:
    """All that is in view, in a sentence or two."""
    things = describe(seen.things)
    if seen.text and not things:
        return f"I see text. It reads: “{seen.text}”."
    reading = f" It reads: “{seen.text}”." if seen.text else ""
    return f"I see {things or 'nothing that I recognise'}.{reading}"


def wanted_sight(text: str) -> str:
    """What the user wants to be told of when it comes into view (“tell me when you see a dog”),
    as things are labelled; empty if nothing."""
    found = _WATCH.search(text.strip().lower())
    if found is None or found["noun"].split()[0] in _NOTHING:
        return ""
    return thing_called(found["noun"])


def thing_called(noun: str) -> str:
    """The label of what a user calls `noun`, after its colour if that is said."""
    *before, last = noun.strip().split(" ")
    colour = f"{before.pop(0)} " if before and before[0] in COLOURS else ""
    one = " ".join([*before, singular(last)])
    return colour + _SYNONYMS.get(one, one)


def find(things: tuple[Thing, ...], label: str) -> list[Thing]:
    """Those that `label` means; anything if it is “it” or “things”."""
    colour, kind = label.removesuffix(_kind(label)).strip(), _kind(label)
    return [
        thing
        for thing in things
        if (kind in _ANYTHING or thing.label == kind or thing.label.endswith(f" {kind}"))
        and colour in ("", thing.colour)
    ]


def _kind(label: str) -> str:
    """The label without its colour."""
    first, _, rest = label.partition(" ")
    return rest if rest and first in COLOURS else label


# ---- answers, one for each kind of question


def _scene(seen: Seen, _: str) -> str:
    before = listing(with_article(label) for label in seen.gone)
    return summary(seen) + (f" A moment ago I saw {before}." if before else "")


def _text(seen: Seen, _: str) -> str:
    return f"It reads: “{seen.text}”." if seen.text else "I see no text that I can read."


def _count(seen: Seen, label: str) -> str:
    found = [thing for thing in find(seen.things, label) if thing.probability >= SURE]
    if found:
        return f"I see {plural_of('thing' if label in _ANYTHING else label, len(found))}."
    return _nothing_of(seen, label)


def _change(seen: Seen, _: str) -> str:
    said = listing(seen.changes[-3:])
    return f"{said[0].upper()}{said[1:]}." if said else "I noticed no change."


def _held(seen: Seen, _: str) -> str:
    """What is in somebody's box, or the thing that is held up to the camera."""
    people = find(seen.things, "person")
    others = [t for t in seen.things if t.label != "person" and t.label != "dining table"]
    others.sort(key=lambda thing: not place_of(thing))  # a hand does not hold the whole picture
    near = [t for t in others if any(_is_within(t, person) for person in people)]
    if held := next(iter(near or ([] if people else others)), None):
        return f"You seem to be holding {with_article(name_of(held))}."
    return "I cannot tell what you are holding."


def _colour(seen: Seen, label: str) -> str:
    for thing in find(seen.things, label):
        if thing.colour:
            return f"The {thing.label} is {thing.colour}."
    return "I am not sure about its colour."


def _presence(seen: Seen, label: str) -> str:
    found = find(seen.things, label)
    if any(thing.probability >= SURE for thing in found):
        return f"Yes, I see {describe(tuple(found))}."
    if found:
        return f"Perhaps {with_article(label)}, but I am not sure."
    return _nothing_of(seen, label)


def _place(seen: Seen, label: str) -> str:
    found = find(seen.things, label)
    if not found:
        return _nothing_of(seen, label)
    return f"The {name_of(found[0])} is {place_of(found[0]) or 'right in front of me'}."


def _nothing_of(seen: Seen, label: str) -> str:
    things = describe(seen.things)
    return f"I cannot make out {with_article(label)}{f', only {things}' if things else ''}."


def _is_within(thing: Thing, other: Thing) -> bool:
    x, y = (thing.box[0] + thing.box[2]) / 2, (thing.box[1] + thing.box[3]) / 2
    left, top, right, bottom = other.box
    return left <= x <= right and top <= y <= bottom


_WATCH: Final = re.compile(
    r"\b(?:tell|warn|alert|notify|inform|call|shout|say|speak|let)\b.{0,24}?"
    r"\b(?:when|if|whenever|once|as soon as)\b\s+"
    r"(?:(?:you (?:can )?(?:see|spot|notice)|there(?:'s| is| are)) |"
    r"(?=(?:\w+ ){1,3}(?:appears?|comes?|shows?|walks?|enters?)\b))" + _NOUN
)


def _asked(pattern: str, fact: Fact) -> _Question:
    return _Question(re.compile(pattern), fact)


def _asked_of_view(pattern: str, fact: Fact) -> _Question:
    return _Question(re.compile(pattern), fact, is_plain=False)


def _asked_of_thing(pattern: str, fact: Fact) -> _Question:
    return _Question(re.compile(pattern), fact, is_plain=False, is_of_known=True)


_QUESTIONS: Final = (
    _asked_of_thing(r"\bhow many " + _NOUN + _IN_VIEW, _count),
    _asked(r"\bwhat\b.*\b(?:i holding|i'm holding|in my hands?)\b", _held),
    _asked(
        r"\bread (?:it|this|that|the (?:text|sign|page|label|card|note|screen))\b"
        r"|\bwhat does (?:it|this|that|the \w+) say\b|\bwhat(?:'s| is) written\b",
        _text,
    ),
    _asked_of_view(
        r"\bwhat(?:'s| has| is| have)?(?: just)? (?:changed|different|happened|moved|new)"
        r"(?: here| now)?[?.!]*$",
        _change,
    ),
    _asked_of_view(r"\bwhat colou?r (?:is|are) " + _NOUN, _colour),
    _asked_of_thing(r"\bwhere(?:'s| is| are) " + _NOUN, _place),
    _asked(r"\b(?:do|can) you (?:\w+ )?see (?:an?|any|the|my|some) " + _NOUN, _presence),
    _asked_of_thing(r"\b(?:is|are) (?:there|this|that|it) (?:an?|any|some) " + _NOUN, _presence),
    _asked(
        r"\bwhat (?:do|can|did) you (?:\w+ )?see\b|\b(?:do|can) you see\b"
        r"|\bdescribe (?:\w+ )?(?:picture|image|photo|scene|room|what you see)\b"
        r"|\bwhat(?:'s| is) (?:in|on) (?:the|this|my) (?:picture|image|photo|camera|screen|video)\b"
        r"|\bwhat am i (?:showing|wearing)\b|\blook at (?:this|that|me)\b",
        _scene,
    ),
    # As the recogniser may hear "What do you see?"
    _asked_of_view(r"\bwhat (?:do|can) you (?:say|sea|seek)[?.!]*$", _scene),
    _asked_of_view(
        r"\bwhat(?:'s| is) (?:this|that|here|there|in front of)\b[^,]{0,12}$"
        r"|\bwho(?:'s| is) (?:this|that|there|here)\b",
        _scene,
    ),
)
