"""Which questions are about sight, and what each wants to know.

Hides how people ask. A question may be read in several ways; the likeliest comes first. Laws: what
may be meant otherwise counts only while something is in view; "is there a problem?" never does.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from omni.dialog.describing import number_called, singular
from omni.media.coco import LABELS
from omni.media.colour import COLOURS

Kind = Literal[
    "scene", "text", "count", "tally", "presence", "place", "colour", "inside", "held", "worn",
    "who", "change", "state",
]  # fmt: skip

ANYTHING: Final = ("thing", "object", "item", "it", "this", "that", "these", "those")
_NOTHING: Final = ("i", "you", "we", "they", "he", "she", "it")
_SYNONYMS: Final = {
    "someone": "person", "somebody": "person", "anyone": "person", "anybody": "person",
    "man": "person", "woman": "person", "human": "person", "child": "person", "kid": "person",
    "boy": "person", "girl": "person", "guy": "person", "lady": "person", "mug": "cup",
    "glass": "wine glass", "phone": "cell phone", "smartphone": "cell phone",
    "mobile": "cell phone", "bike": "bicycle", "cycle": "bicycle", "motorbike": "motorcycle",
    "television": "TV", "tv": "TV", "plant": "potted plant", "table": "dining table",
    "desk": "dining table", "sofa": "couch", "plane": "airplane", "aeroplane": "airplane",
    "fridge": "refrigerator", "coffee": "espresso", "kitten": "cat", "puppy": "dog",
    "bag": "handbag", "computer": "laptop", "van": "car", "taxi": "car",
}  # fmt: skip
_KNOWN: Final = {*LABELS, "espresso", "fish", "snake", "spider", "rabbit", "monkey", "finger",
                 "hand", *ANYTHING}  # fmt: skip

_ENDS: Final = (
    r"(?=\s+(?:in|on|at|there|here|do|are|is|am|you|can|now|right|again|please|comes?|appears?|"
    r"shows?|walks?|enters?|and|or|to|with|near|next|behind|around|look|looks|doing|\w+ing)\b"
    r"|[.,?!]|$)"
)
_NOUN: Final = (
    r"(?:(?:an?|the|my|your|any|some|one|this|that)\s+)?(?P<noun>[a-z]+(?: [a-z]+){0,2}?)" + _ENDS
)
_THING: Final = rf"(?P<noun>(?:{'|'.join(sorted({*LABELS, *_SYNONYMS, 'people'}))})(?:e?s)?)\b"
_IN_VIEW: Final = (
    r"(?: (?:are|is) (?:there|here|in|on)\b|(?: do| can) you (?:\w+ )?see\b| am i\b|[?.!]|$)"
)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """`label` as things are labelled, perhaps after a colour; "it" if nothing is named. `number`
    is how many of them were named. `is_plain`: it is about sight even if nothing is in view."""

    kind: Kind
    label: str
    number: int
    is_plain: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Form:
    """`is_of_known`: only if it names something that can be seen."""

    kind: Kind
    pattern: re.Pattern[str]
    is_plain: bool
    is_of_known: bool


def readings(text: str) -> Iterator[Asked]:
    """What a text may want to know of what is seen; nothing if it is no such question."""
    words = text.strip().lower()
    for form in _FORMS:
        found = form.pattern.search(words)
        if found is None:
            continue
        named = found.groupdict()
        label = thing_called(named.get("noun") or named.get("other") or "it")
        if form.is_of_known and kind_of(label) not in _KNOWN:
            continue
        yield Asked(form.kind, label, number_called(named.get("number") or ""), form.is_plain)


def is_about_picture(text: str) -> bool:
    """Whether a question that is sent with a picture points at what is in it; requests for advice
    or for a piece of writing do not."""
    words = text.strip().lower()
    is_question = words.endswith("?") or bool(_ASKS.match(words))
    return is_question and bool(_POINTS.search(words)) and not _WANTS.search(words)


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


def kind_of(label: str) -> str:
    """The label without its colour."""
    first, _, rest = label.partition(" ")
    return rest if rest and first in COLOURS else label


_WATCH: Final = re.compile(
    r"\b(?:tell|warn|alert|notify|inform|call|shout|say|speak|let)\b.{0,24}?"
    r"\b(?:when|if|whenever|once|as soon as)\b\s+"
    r"(?:(?:you (?:can )?(?:see|spot|notice)|there(?:'s| is| are)) |"
    r"(?=(?:\w+ ){1,3}(?:appears?|comes?|shows?|walks?|enters?)\b))" + _NOUN
)
_ASKS: Final = re.compile(
    r"(?:what|who|whose|where|when|which|why|how|is|are|was|were|do|does|did|has|have|can|could)\b"
)
_POINTS: Final = re.compile(
    r"\b(?:this|that|these|those|it|its|it's|he|she|they|his|her|their|here|there|picture|photo|"
    r"image|man|woman|person|people|anyone|somebody|someone|weather|day|night)\b|'s\b"
)
_WANTS: Final = re.compile(
    r"\b(?:should|shall|would|recommend|suggest|write|poem|story|joke|explain|mean)\b"
)


def _form(kind: Kind, pattern: str) -> _Form:
    return _Form(kind, re.compile(pattern), is_plain=True, is_of_known=False)


def _form_in_view(kind: Kind, pattern: str) -> _Form:
    return _Form(kind, re.compile(pattern), is_plain=False, is_of_known=False)


def _form_of_thing(kind: Kind, pattern: str) -> _Form:
    return _Form(kind, re.compile(pattern), is_plain=False, is_of_known=True)


_FORMS: Final = (
    _form_of_thing("count", r"\bhow many " + _NOUN + _IN_VIEW),
    _form_of_thing(
        "tally",
        r"\b(?:are|is) (?:there|these|those) (?:only |just |really )?"
        r"(?P<number>one|two|three|four|five|six|seven|eight|nine|ten|\d\d?) " + _NOUN,
    ),
    _form("held", r"\bwhat\b.*\b(?:i holding|i'm holding|in my hands?)\b"),
    _form(
        "text",
        r"\bread (?:it|this|that|the (?:text|sign|page|label|card|note|screen))\b"
        r"|\bwhat (?:does|do|is|did) (?:it|this|that|the \w+) say\b|\bwhat(?:'s| is) written\b",
    ),
    _form_in_view(
        "change",
        r"\bwhat(?:'s| has| is| have)?(?: just)? (?:changed|different|happened|moved|new)"
        r"(?: here| now)?[?.!]*$",
    ),
    _form_in_view("colour", r"\bwhat colou?r (?:is|are) " + _NOUN),
    _form_of_thing("inside", r"\bwhat(?:'s| is) (?:in|inside|on|under|behind) " + _NOUN),
    _form_of_thing("place", r"\bwhere(?:'s| is| are) " + _NOUN),
    _form("presence", r"\b(?:do|can) you (?:\w+ )?see (?:an?|any|the|my|some) " + _NOUN),
    _form_of_thing("presence", r"\b(?:is|are) (?:there|this|that|it) (?:an?|any|some) " + _NOUN),
    _form("worn", r"\bwhat am i wearing\b"),
    _form_in_view("worn", r"\bwhat(?:'s| is| are) (?:\w+ ){1,3}wearing\b"),
    _form_in_view(
        "who", r"\bwho(?:'s| is| are) (?:this|that|these|there|here|he|she|they)\b|\bwho am i\b"
    ),
    _form(
        "scene",
        r"\bwhat (?:do|can|did) you (?:\w+ )?see\b|\b(?:do|can) you see\b"
        r"|\bdescribe (?:\w+ )?(?:picture|image|photo|scene|room|what you see)\b"
        r"|\bwhat(?:'s| is) (?:in|on) (?:the|this|my) (?:picture|image|photo|camera|screen|video)\b"
        r"|\bwhat am i showing\b|\blook at (?:this|that|me)\b",
    ),
    # As the recogniser may hear "What do you see?"
    _form_in_view("scene", r"\bwhat (?:do|can) you (?:say|sea|seek)[?.!]*$"),
    _form_in_view("scene", r"\bwhat(?:'s| is) (?:this|that|here|there|in front of)\b[^,]{0,12}$"),
    _form_in_view("state", r"\b(?:what am i doing|how do i look)\b"),
    _form_of_thing(
        "state",
        r"\bwhat (?:kind|sort|type|breed|make|model|brand) of "
        + _THING
        + r"|^(?:and |so |but )?(?:how \w+ |how |why |what(?:'s)? )?"
        + r"(?:is |are |was |does |do |has )?(?:the|this|that|these|those|my) "
        + _THING.replace("noun", "other"),
    ),
)
