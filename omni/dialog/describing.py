"""Words for what is seen: articles, plurals, places and lists, as they are spoken."""

from collections.abc import Iterable
from typing import Final

from omni.types import Thing

_NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
                   "ten", "eleven", "twelve")  # fmt: skip
_PLURALS: Final = {
    "person": "people", "sheep": "sheep", "fish": "fish", "mouse": "mice", "knife": "knives",
    "scissors": "scissors", "skis": "skis", "broccoli": "broccoli",
}  # fmt: skip
_SINGULARS: Final = {plural: singular for singular, plural in _PLURALS.items()} | {
    "men": "man", "women": "woman", "children": "child",
}  # fmt: skip
_UNCOUNTED: Final = ("scissors", "skis", "broccoli", "sheep", "espresso")
_WHOLE: Final = 0.85  # of the picture: what fills it is nowhere in particular

Box = tuple[float, float, float, float]


def with_article(noun: str) -> str:
    """“a cup”, “an orange cat”, “scissors”."""
    if noun.split()[-1] in _UNCOUNTED:
        return noun
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def plural_of(noun: str, count: int) -> str:
    """The noun with its number in words: “no dogs”, “one dog”, “two dogs”."""
    number = _NUMBERS[count] if count < len(_NUMBERS) else "many"
    return f"{number} {noun if count == 1 else _plural(noun)}"


def number_called(word: str) -> int:
    """“two” or “2” as a number; 0 for anything else."""
    if word.isdecimal():
        return int(word)
    return _NUMBERS.index(word) if word in _NUMBERS else 0


def singular(noun: str) -> str:
    """A noun as things are labelled, from how a user may say it."""
    if noun in _SINGULARS:
        return _SINGULARS[noun]
    if noun in _PLURALS:
        return noun
    if noun.endswith("ies") and len(noun) > 4:
        return f"{noun[:-3]}y"
    if noun.endswith(("ches", "shes", "sses", "xes", "uses")):
        return noun[:-2]
    return noun[:-1] if noun.endswith("s") and not noun.endswith(("ss", "us")) else noun


def name_of(thing: Thing) -> str:
    """“red cup”; a person is “in orange”."""
    if not thing.colour:
        return thing.label
    if thing.label == "person":
        return f"person in {thing.colour}"
    return f"{thing.colour} {thing.label}"


def place_of(thing: Thing) -> str:
    """“on the left”, “in the middle”, “on the right”; empty for what fills the picture."""
    left, top, right, bottom = thing.box
    if (right - left) * (bottom - top) >= _WHOLE:
        return ""
    centre = (left + right) / 2
    return "on the left" if centre < 0.36 else "on the right" if centre > 0.64 else "in the middle"


def listing(phrases: Iterable[str]) -> str:
    """“a”, “a and b”, “a, b and c”; the same phrase is said once."""
    items = list(dict.fromkeys(phrase for phrase in phrases if phrase))
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def _plural(noun: str) -> str:
    *before, last = noun.split(" ")
    if last in _PLURALS:
        last = _PLURALS[last]
    elif last.endswith(("s", "x", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2] not in "aeiou":
        last = f"{last[:-1]}ies"
    elif not last.endswith("ese"):
        last += "s"
    return " ".join([*before, last])
