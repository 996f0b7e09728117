"""What travels for an omni-modal brain: a unit a second, in which it listens or speaks; or, in half
duplex, pieces of the user's turn, and answers.

The session cuts units and pieces; ears and eyes turn them into embeddings side by side, the mind
joins them by `unit_index` and chooses, the mouth speaks what it chose.
"""

from dataclasses import dataclass
from typing import Final, Literal

from omni.chunk import Chunk, Embeddings, Samples

VOICE_UNUSABLE: Final = "voice_unusable"  # code of a report: the session goes on in the plain voice


@dataclass(frozen=True, slots=True, eq=False)
class BeginContext(Chunk):
    """All that came before is forgotten; `unit_index` will be the first unit.

    `voice` names a reference clip and what the vocoder makes of it; `seed` fixes every draw.
    """

    instructions: str
    voice: str
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class UnitSound(Chunk):
    """One second of the user's sound at 16 kHz, for the ears."""

    samples: Samples  # [16000]


@dataclass(frozen=True, slots=True, eq=False)
class UnitPictures(Chunk):
    """What the camera showed in a unit, still encoded, for the eyes."""

    encoded: tuple[bytes, ...]
    captured_ms: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class UnitPlan(Chunk):
    """What belongs to a unit, for the mind. `text` was written by the user.

    `is_listen_forced`: whatever it would say, it listens, and its turn is over.
    `is_spoken`: what it says is to be heard, not only read.
    """

    num_pictures: int
    text: str
    is_listen_forced: bool
    is_spoken: bool


@dataclass(frozen=True, slots=True, eq=False)
class SoundEmbeddings(Chunk):
    """What the ears made of a unit, or of the reference clip that a context begins with."""

    of: Literal["unit", "reference"]
    rows: Embeddings  # [n, D]


@dataclass(frozen=True, slots=True, eq=False)
class PictureEmbeddings(Chunk):
    """What the eyes made of one picture of a unit, or of several packed together: its overview
    first, then its slices, so many in a row. No tiles: it could not be decoded."""

    tiles: Embeddings  # [tiles, queries, D]
    columns: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Chosen(Chunk):
    """What the mind did in a unit: listened, or went on with a reply (its words, if whole).

    Answers every unit, also stale ones, so that the session knows how far it is.
    """

    response_id: str
    is_listen: bool
    is_turn_end: bool
    text: str
    num_tokens: int
    context_tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class UnitWords(Chunk):
    """A unit's words for the mouth: ids, and the mind's state at each one's own position."""

    response_id: str
    text: str
    token_ids: tuple[int, ...]
    states: Embeddings  # [n, D]
    is_turn_end: bool


# ---- half duplex


@dataclass(frozen=True, slots=True, eq=False)
class TurnPart(Chunk):
    """What belongs to a piece of the user's turn, for the mind. `text` was written by the user."""

    num_pictures: int
    text: str
    has_sound: bool


@dataclass(frozen=True, slots=True, eq=False)
class TurnRead(Chunk):
    """The mind has read a piece; every one is answered."""

    context_tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class Respond(Chunk):
    """The user has finished: answer, after thinking if `is_thinking`. The ears begin anew."""

    response_id: str
    is_thinking: bool
    is_spoken: bool
    max_tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class TakeBack(Chunk):
    """Of this reply only the beginning was heard: the mind forgets the rest, if nothing has been
    read since."""

    response_id: str
    heard: str


@dataclass(frozen=True, slots=True, eq=False)
class AnswerWords(Chunk):
    """Some words of an answer for the mouth: ids, and the mind's state at each one's own position.
    The last ones, perhaps none, say how it ended."""

    response_id: str
    text: str
    token_ids: tuple[int, ...]
    states: Embeddings  # [n, D]
    finish: Literal["stop", "length"] | None
