"""The models behind every session, and what a session may wish from them.

A session's work is a generator: it yields a wish and is sent the answer. Wishes of one kind are
answered together, so no model is called in a loop over sessions. Law: a session's answers do not
depend on who else is served.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from omni.media.slicing import Pixels
from omni.models.minicpmo.checkpoint import MiniCPMO
from omni.models.minicpmo.decoder import Context, LanguageModel
from omni.models.minicpmo.hearing import Ear
from omni.models.minicpmo.kv import KeyValues
from omni.models.minicpmo.mel import MelChunk
from omni.models.minicpmo.prompt import Group
from omni.models.minicpmo.sampling import (
    Decision,
    DecisionIds,
    Source,
    SpeechRule,
    TextSampler,
    decide,
)
from omni.models.minicpmo.seeing import Eye
from omni.models.minicpmo.speech import SpeechOrder, Talker
from omni.models.minicpmo.tokens import Tokens


@dataclass(frozen=True, slots=True, eq=False)
class Hear:
    """Encode a unit of sound; answered with embeddings [n, D]."""

    past: KeyValues
    chunk: MelChunk


@dataclass(frozen=True, slots=True, eq=False)
class HearClip:
    """Encode a finished sound [n]; answered with embeddings [rows, D]."""

    samples: Tensor
    chunk_s: float | None


@dataclass(frozen=True, slots=True, eq=False)
class See:
    """Embed a picture; answered with its tiles, a list of [queries, D]."""

    picture: Pixels
    max_slices: int


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """Append groups to a context; answered with the states of their rows [n, D]."""

    context: Context
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Decide:
    """Choose the next token after a state [D]; answered with its id."""

    state: Tensor
    history: list[int]
    rule: Decision
    ids: DecisionIds
    source: Source


@dataclass(frozen=True, slots=True, eq=False)
class Choose:
    """Choose the next word of a turn-based answer after a state [D]; answered with its id."""

    state: Tensor
    seen: tuple[int, ...]  # what counts as repeated
    sampler: TextSampler


@dataclass(frozen=True, slots=True, eq=False)
class Say:
    """Speak; answered with speech codes."""

    order: SpeechOrder
    rule: SpeechRule


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """Make a window of codes audible; answered with samples [n]."""

    stream: "SpeechStream | None"
    codes: tuple[int, ...]
    is_last: bool


class SpeechStream(Protocol):
    """One session's speech in the vocoder."""

    def reset(self) -> None:
        """Begin anew; what was held back is gone."""


class Vocoder(Protocol):
    """What makes codes audible, as `token2wav` does; streams are its own."""

    @property
    def silence_code(self) -> int: ...

    def stream(
        self, streams: Sequence[Any], windows: Sequence[Sequence[int]], is_last: Sequence[bool]
    ) -> list[Tensor]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Emit:
    """Not a wish but a result, to go out at once; answered with nothing."""

    output: Any


Wish = Hear | HearClip | See | Feed | Decide | Choose | Say | Sound
ORDER: tuple[type, ...] = (See, Hear, HearClip, Feed, Decide, Choose, Say, Sound)

Result = TypeVar("Result")
Work = Generator[Wish | Emit, Any, Result]


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """Memory set aside at the start: contexts, and the rows each can hold.

    `speech_tokens` are rows of one turn's speech, about 35 a second; a longer turn rolls over.
    """

    num_sessions: int
    context_tokens: int
    speech_tokens: int = 2048


class Brain:
    """All models of a checkpoint on one device.

    Args:
        vocoder: None where nothing is to be heard.
    """

    def __init__(
        self,
        model: MiniCPMO,
        tokens: Tokens,
        vocoder: Vocoder | None,
        room: Room,
    ) -> None:
        config = model.config
        self.config = config
        self.tokens = tokens
        self.vocoder = vocoder
        self.ear = Ear(model.apm, model.audio_projection_layer, config.audio_pool)
        self.eye = Eye(model.vpm, model.resampler, config.slicing)
        self.llm = LanguageModel(model.llm, room.num_sessions, room.context_tokens)
        most = config.speech.backbone.max_position_embeddings
        self.talker = Talker(model.tts, room.num_sessions, min(room.speech_tokens, most))

    def answer(self, wishes: Sequence[Wish]) -> list[Any]:
        """Answer wishes of one kind in as few passes as they allow."""
        match wishes[0]:
            case Hear():
                return self._hear([w for w in wishes if isinstance(w, Hear)])
            case HearClip(chunk_s=chunk_s):
                clips = [w.samples for w in wishes if isinstance(w, HearClip)]
                return self.ear.clips(clips, chunk_s)
            case See():
                return self.eye.see(
                    [(w.picture, w.max_slices) for w in wishes if isinstance(w, See)]
                )
            case Feed():
                return self._feed([w for w in wishes if isinstance(w, Feed)])
            case Decide(rule=rule, ids=ids):
                asked = [w for w in wishes if isinstance(w, Decide)]
                logits = self.llm.logits(torch.stack([w.state for w in asked]))
                histories = [w.history for w in asked]
                return decide(logits, histories, rule, ids, [w.source for w in asked])
            case Choose():
                return self._choose([w for w in wishes if isinstance(w, Choose)])
            case Say(rule=rule):
                return self.talker.say([w.order for w in wishes if isinstance(w, Say)], rule)
            case Sound():
                return self._sound([w for w in wishes if isinstance(w, Sound)])

    def embed(self, groups: Sequence[Group]) -> Tensor:
        """Rows of groups, the ids of all of them looked up at once. [n, D]"""
        looked_up = self.llm.embed([i for group in groups for i in group.ids])
        counts = [len(group) for group in groups if group.embeds is None]
        ids = iter(torch.split(looked_up, counts))
        rows = [next(ids) if group.embeds is None else group.embeds for group in groups]
        return torch.cat([r.to(self.llm.table.weight) for r in rows])

    def _hear(self, wishes: Sequence[Hear]) -> list[Tensor]:
        hidden = self.ear.stream([w.past for w in wishes], [w.chunk for w in wishes])
        return [self.ear.embed(h) for h in hidden]

    def _feed(self, wishes: Sequence[Feed]) -> list[Tensor]:
        rows = self.embed([group for w in wishes for group in w.groups])
        counts = [sum(map(len, w.groups)) for w in wishes]
        return self.llm.feed([w.context for w in wishes], list(torch.split(rows, counts)))

    def _choose(self, wishes: Sequence[Choose]) -> list[int]:
        logits = self.llm.logits(torch.stack([w.state for w in wishes]))
        return [w.sampler.next(row, w.seen) for w, row in zip(wishes, logits, strict=True)]

    def _sound(self, wishes: Sequence[Sound]) -> list[Tensor]:
        if self.vocoder is None:
            raise ValueError("this brain has no vocoder")
        return self.vocoder.stream(
            [w.stream for w in wishes], [w.codes for w in wishes], [w.is_last for w in wishes]
        )
