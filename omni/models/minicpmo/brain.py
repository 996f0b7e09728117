"""The models behind every session, by what they are for: ears, eyes, mind, mouth.

Each answers its own wishes, and can stand in a process of its own; `Brain` is all four in one.
Wishes of one kind are answered together, so no model is called in a loop over sessions. Law: a
session's answers do not depend on who else is served.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from omni.models.minicpmo.checkpoint import MiniCPMO
from omni.models.minicpmo.decoder import LanguageModel
from omni.models.minicpmo.hearing import Ear
from omni.models.minicpmo.prompt import Group
from omni.models.minicpmo.sampling import decide
from omni.models.minicpmo.seeing import Eye
from omni.models.minicpmo.speech import Talker
from omni.models.minicpmo.tokens import Tokens
from omni.models.minicpmo.wishes import (
    Choose,
    Decide,
    Feed,
    Hear,
    HearClip,
    Say,
    See,
    SeePacked,
    Sound,
    Vocoder,
    Wish,
)


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """Memory set aside at the start: contexts, and the rows each can hold.

    `speech_tokens` are rows of one turn's speech, about 35 a second; a longer turn rolls over.
    """

    num_sessions: int
    context_tokens: int
    speech_tokens: int = 2048


class Faculty(Protocol):
    def answer(self, wishes: Sequence[Wish]) -> list[Any]:
        """Answer wishes of one kind in as few passes as they allow."""


class Ears:
    def __init__(self, model: MiniCPMO) -> None:
        config = model.config
        self.ear = Ear(model.apm, model.audio_projection_layer, config.audio_pool)
        self.chunk_s = config.audio_chunk_s

    @property
    def device(self) -> torch.device:
        return self.ear.tower.embed_positions.weight.device

    def answer(self, wishes: Sequence[Wish]) -> list[Any]:
        if isinstance(wishes[0], HearClip):
            clips = [w.samples for w in wishes if isinstance(w, HearClip)]
            return self.ear.clips(clips, wishes[0].chunk_s)
        units = [w for w in wishes if isinstance(w, Hear)]
        hidden = self.ear.stream([w.past for w in units], [w.chunk for w in units])
        return [self.ear.embed(h) for h in hidden]


class Eyes:
    def __init__(self, model: MiniCPMO) -> None:
        self.eye = Eye(model.vpm, model.resampler, model.config.slicing)

    def answer(self, wishes: Sequence[Wish]) -> list[Any]:
        if isinstance(wishes[0], SeePacked):
            films = [(w.pictures, w.times) for w in wishes if isinstance(w, SeePacked)]
            return self.eye.pack(films)
        return self.eye.see([(w.picture, w.max_slices) for w in wishes if isinstance(w, See)])


class Mind:
    def __init__(self, model: MiniCPMO, tokens: Tokens, room: Room) -> None:
        self.tokens = tokens
        self.can_speak = model.config.talker is not None
        self.llm = LanguageModel(model.llm, room.num_sessions, room.context_tokens)

    def answer(self, wishes: Sequence[Wish]) -> list[Any]:
        match wishes[0]:
            case Decide(rule=rule, ids=ids):
                asked = [w for w in wishes if isinstance(w, Decide)]
                logits = self.llm.logits(torch.stack([w.state for w in asked]))
                histories = [w.history for w in asked]
                return decide(logits, histories, rule, ids, [w.source for w in asked])
            case Choose():
                return self._choose([w for w in wishes if isinstance(w, Choose)])
            case _:
                return self._feed([w for w in wishes if isinstance(w, Feed)])

    def embed(self, groups: Sequence[Group]) -> Tensor:
        """Rows of groups, the ids of all of them looked up at once. [n, D]"""
        looked_up = self.llm.embed([i for group in groups for i in group.ids])
        counts = [len(group) for group in groups if group.embeds is None]
        ids = iter(torch.split(looked_up, counts))
        rows = [next(ids) if group.embeds is None else group.embeds for group in groups]
        return torch.cat([r.to(self.llm.table.weight) for r in rows])

    def _feed(self, wishes: Sequence[Feed]) -> list[Tensor]:
        rows = self.embed([group for w in wishes for group in w.groups])
        counts = [sum(map(len, w.groups)) for w in wishes]
        return self.llm.feed([w.context for w in wishes], list(torch.split(rows, counts)))

    def _choose(self, wishes: Sequence[Choose]) -> list[int]:
        logits = self.llm.logits(torch.stack([w.state for w in wishes]))
        return [w.sampler.next(row, w.seen) for w, row in zip(wishes, logits, strict=True)]


class Mouth:
    """Args:
    vocoder: None where nothing is to be heard.
    """

    def __init__(self, model: MiniCPMO, vocoder: Vocoder | None, room: Room) -> None:
        self.speech = model.config.speech
        self.vocoder = vocoder
        most = self.speech.backbone.max_position_embeddings
        self.talker = Talker(model.tts, room.num_sessions, min(room.speech_tokens, most))

    def answer(self, wishes: Sequence[Wish]) -> list[Any]:
        if isinstance(wishes[0], Say):
            orders = [w.order for w in wishes if isinstance(w, Say)]
            return self.talker.say(orders, wishes[0].rule)
        if self.vocoder is None:
            raise ValueError("this brain has no vocoder")
        sounds = [w for w in wishes if isinstance(w, Sound)]
        return self.vocoder.stream(
            [w.stream for w in sounds], [w.codes for w in sounds], [w.is_last for w in sounds]
        )


class Brain:
    """All models of a checkpoint on one device."""

    def __init__(
        self, model: MiniCPMO, tokens: Tokens, vocoder: Vocoder | None, room: Room
    ) -> None:
        self.config = model.config
        self.tokens = tokens
        self.vocoder = vocoder
        self.ears = Ears(model)
        self.eyes = Eyes(model)
        self.mind = Mind(model, tokens, room)
        self.mouth = Mouth(model, vocoder, room)
        self.ear, self.eye = self.ears.ear, self.eyes.eye
        self.llm, self.talker = self.mind.llm, self.mouth.talker

    def answer(self, wishes: Sequence[Wish]) -> list[Any]:
        return self._faculty(wishes[0]).answer(wishes)

    def _faculty(self, wish: Wish) -> Faculty:
        match wish:
            case Hear() | HearClip():
                return self.ears
            case See() | SeePacked():
                return self.eyes
            case Feed() | Decide() | Choose():
                return self.mind
            case Say() | Sound():
                return self.mouth
