"""What travels between the gateway and the stages, and who receives it.

Every chunk carries `session_id`, `epoch` and `unit_index`. Reply chunks of an older epoch are stale
and dropped on sight; what the user said or showed never is. Arrays are read-only from birth, so
that both runtimes behave alike. All times in samples or ms of the user's audio clock.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

from omni import units
from omni.chat import Message, Tool
from omni.chunk import Chunk as Chunk
from omni.chunk import Pixels as Pixels
from omni.chunk import Samples as Samples
from omni.chunk import StageName as StageName
from omni.chunk import frozen_array as frozen_array

Receiver = Literal["vad", "hear", "see", "think", "speak", "gateway"]
STAGES: Final[tuple[StageName, ...]] = ("vad", "hear", "see", "think", "speak")


# ---- to the ears and eyes


@dataclass(frozen=True, slots=True, eq=False)
class AudioChunk(Chunk):
    """A frame of the user's sound at 16 kHz; `start_sample` counts from the session's start."""

    start_sample: int
    samples: Samples  # [n]


@dataclass(frozen=True, slots=True, eq=False)
class Recognise(Chunk):
    """Turn `samples` (a whole turn so far, 16 kHz) into words. Stateless, so a lost ear costs
    nothing: it is asked again. `is_final`: no more of this turn is expected."""

    turn_id: str
    samples: Samples  # [n]
    end_sample: int
    is_final: bool
    language: str | None = None
    translate_to: str | None = None  # the words in this language, too, if the ear can


@dataclass(frozen=True, slots=True, eq=False)
class JudgeTurn(Chunk):
    """Does this turn, up to `end_sample`, sound finished? `samples` are its last 8 s at 16 kHz."""

    turn_id: str
    samples: Samples  # [n]
    end_sample: int


@dataclass(frozen=True, slots=True, eq=False)
class PictureChunk(Chunk):
    """One picture, still encoded (JPEG, PNG or WebP): decoding is the see stage's work.

    `is_asked`: somebody waits for what it shows, so it is looked at closely and always answered;
    otherwise the eyes may pass over it."""

    picture_id: str
    encoded: bytes
    captured_ms: int
    is_asked: bool = False


# ---- from the ears and eyes


@dataclass(frozen=True, slots=True, eq=False)
class Activity(Chunk):
    """Probability that the 32 ms ending at `end_sample` hold speech."""

    end_sample: int
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class TurnHint(Chunk):
    """Probability that the turn, heard up to `end_sample`, is complete."""

    turn_id: str
    end_sample: int
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class Heard(Chunk):
    """The words of a turn up to `end_sample`; the audio group of its unit. `text` is the whole
    hypothesis and may still change, `stable` is its prefix that will not. Empty text: no speech."""

    turn_id: str
    end_sample: int
    text: str
    stable: str
    language: str
    is_final: bool
    translation: str = ""  # in the language asked for, if known


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """Something in view. `track_id` stays while it does; `box` is left, top, right, bottom as
    fractions of the picture; `colour` is empty where none stands out."""

    track_id: int
    label: str
    colour: str
    box: tuple[float, float, float, float]
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class Seen(Chunk):
    """What one picture, or the scene by now, shows; the vision group of its unit.

    `note` says it all in a sentence or two, `text` is what could be read, `changes` what happened
    in the last half minute, newest last, and `gone` the kinds of things that left in it.
    """

    picture_id: str
    captured_ms: int
    note: str
    things: tuple[Thing, ...] = ()
    text: str = ""
    changes: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


# ---- thinking and speaking


@dataclass(frozen=True, slots=True, eq=False)
class SpeechOptions:
    """How a reply is to be spoken. `speed` is a factor, 1.0 = the voice's own."""

    voice: str
    speed: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Prompt(Chunk):
    """The whole context of one reply. The core re-uses the longest prefix it has cached, so a
    history that was cut to what was heard cuts the KV cache by itself, and a restarted core loses
    nothing. `max_tokens=0` only prefills. `prefix` is a reply begun earlier, to be continued.
    `speech=None`: written reply only. `tools`: what the reply may call."""

    response_id: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float
    speech: SpeechOptions | None
    prefix: str = ""
    tools: tuple[Tool, ...] = ()


Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, eq=False)
class Token(Chunk):
    """The next piece of a reply's text; the last one says why it ended and what it cost.
    `is_pause`: no more words for a while, so what there is can be spoken."""

    response_id: str
    index: int
    text: str
    speech: SpeechOptions | None
    finish: Finish | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    is_pause: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Called(Chunk):
    """The reply calls a tool: `arguments`, a JSON object's text, fit its schema."""

    response_id: str
    tool: Tool
    arguments: str


@dataclass(frozen=True, slots=True, eq=False)
class Say(Chunk):
    """Text to be spoken as part of a reply without being thought first: what a lost voice still
    owes, or an apology. `is_last`: the reply's sound ends with it."""

    response_id: str
    text: str
    speech: SpeechOptions
    is_last: bool


@dataclass(frozen=True, slots=True, eq=False)
class Word:
    """One spoken word and its place, ms from the start of the sound it came with."""

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class Speech(Chunk):
    """A run of the reply's sound at 24 kHz, and the piece of the reply's text that it speaks.

    `text` pieces of a response joined in order are its text so far, white space included: what was
    heard can be cut from it to the word. `words` are those of `text`, timed from its start."""

    response_id: str
    index: int
    samples: Samples  # [n]
    text: str
    words: tuple[Word, ...] = ()
    is_last: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Rest(Chunk):
    """Somebody is waited for whom the writer would slow down (`is_begun`), or no longer: the voice
    at an urgent clause, the recogniser at a sound over our speech."""

    is_begun: bool


# ---- about the stages themselves


@dataclass(frozen=True, slots=True, eq=False)
class Fence(Chunk):
    """Everything of this session's replies before `epoch` is void."""


@dataclass(frozen=True, slots=True, eq=False)
class StageReport(Chunk):
    """A stage failed on this session's work (`failed`), died (`lost`) or is back (`restored`)."""

    stage: StageName
    state: Literal["failed", "lost", "restored"]
    message: str = ""
    code: str = ""


DESTINATIONS: Final[dict[type[Chunk], tuple[Receiver, ...]]] = {
    AudioChunk: ("vad",),
    JudgeTurn: ("vad",),
    Recognise: ("hear",),
    PictureChunk: ("see",),
    Activity: ("gateway",),
    TurnHint: ("gateway",),
    Heard: ("think", "gateway"),
    Seen: ("think", "gateway"),
    Prompt: ("think",),
    Token: ("speak", "gateway"),
    Called: ("gateway",),
    Say: ("speak",),
    Speech: ("gateway",),
    Rest: ("think",),
    Fence: STAGES,
    StageReport: ("gateway",),
    units.BeginContext: ("hear", "think", "speak"),
    units.UnitSound: ("hear",),
    units.UnitPictures: ("see",),
    units.UnitPlan: ("think",),
    units.SoundEmbeddings: ("think",),
    units.PictureEmbeddings: ("think",),
    units.Chosen: ("gateway",),
    units.UnitWords: ("speak",),
    units.TurnPart: ("think",),
    units.TurnRead: ("gateway",),
    units.Respond: ("hear", "think"),
    units.TakeBack: ("think",),
    units.AnswerWords: ("speak",),
}
"""Who receives what: the whole wiring of the pipeline, the same for every runtime."""

REPLY_CHUNKS: Final = (
    Prompt, Token, Called, Say, Speech, Rest, units.UnitWords, units.Respond, units.AnswerWords,
)  # fmt: skip
"""The chunks that a raised epoch makes stale."""


@dataclass(frozen=True, slots=True, eq=False)
class StageHealth:
    """How a stage fares: `busy_s` of model time for `media_s` of sound or pictures handled."""

    stage: StageName
    is_ready: bool
    pid: int
    queued: int = 0
    dropped: int = 0
    steps: int = 0
    busy_s: float = 0.0
    media_s: float = 0.0
    restarts: int = 0
    detail: dict[str, str] = field(default_factory=dict)
