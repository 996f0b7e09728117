"""Half duplex in one process: someone else finds the user's turns; the model reads and answers.

Joins what a server's stages do each on their own (`perceiving`, `answering`, `telling`). Parity is
taken from this. Source: MiniCPM-o 4.5's streaming chat.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from omni.media import slicing
from omni.models.minicpmo.answering import Answering
from omni.models.minicpmo.brain import Brain
from omni.models.minicpmo.mel import MelStream
from omni.models.minicpmo.parts import Part, PictureRows, SoundRows
from omni.models.minicpmo.perceiving import hear_turn
from omni.models.minicpmo.prompt import Places
from omni.models.minicpmo.rounds import ExactRounds, Rounds
from omni.models.minicpmo.sampling import Source
from omni.models.minicpmo.telling import Telling
from omni.models.minicpmo.turns import (
    Content,
    Frame,
    HalfDuplexRule,
    HalfDuplexSession,
    Manner,
    Said,
    Segment,
    Spelling,
    TurnHearing,
    Unit,
    Voiced,
    Words,
)
from omni.models.minicpmo.unit import Speaking
from omni.models.minicpmo.wishes import Emit, HearClip, See, SpeechStream, Work, relay

_PLAIN = Manner()


class HalfDuplex:
    def __init__(self, brain: Brain, rule: HalfDuplexRule) -> None:
        self.brain = brain
        self.rule = rule
        self.answering = Answering(brain.mind, rule)
        self.telling = Telling(brain.mouth, rule)
        self.places = Places(brain.config.num_queries, brain.config.audio_pool)

    def open(
        self,
        system: Sequence[Content],
        stream: SpeechStream,
        sources: tuple[Source, Source],
        rounds: Rounds | None = None,
    ) -> Work[HalfDuplexSession]:
        """Start a session: its system message, and the sources of words and of speech codes.

        Raises:
            SessionCapacity: all contexts are in use.
        """
        hearing = self._hearing()
        context = self.brain.llm.open()
        try:
            speaking = Speaking(self.brain.talker.open(), stream, sources[1])
        except Exception:
            context.close()
            raise
        kept = ExactRounds() if rounds is None else rounds
        try:
            parts = yield from self._perceived(hearing, system)
            begin = self.answering.begin(context, parts, sources[0], kept)
            return HalfDuplexSession(hearing, (yield from begin), speaking)
        except BaseException:
            context.close()
            speaking.context.close()
            raise

    def read(self, session: HalfDuplexSession, contents: Sequence[Content]) -> Work[None]:
        """Read a piece of the user's turn: words, pictures and sound in the order given.

        Raises:
            StageError: the context is full.
        """
        parts = yield from self._perceived(session.hearing, contents)
        yield from self.answering.read(session.thinking, parts)

    def answer(self, session: HalfDuplexSession, manner: Manner = _PLAIN) -> Work[str]:
        """Answer the user's turn; emits `Said` as it goes on, and returns all of the text."""
        session.hearing = self._hearing()
        utterance = self.telling.begin(session.speaking)
        spelling = Spelling(self.brain.tokens.decode_all)

        def show(voiced: Voiced) -> Work[None]:
            yield Emit(Said(voiced.samples, spelling.fresh(is_last=voiced.is_last)))

        def say(words: Words) -> Work[None]:
            spelling.ids += words.ids
            if manner.is_spoken:
                yield from relay(self.telling.say(utterance, words), show)
            else:
                yield from show(Voiced(torch.zeros(0), 0, is_last=words.finish is not None))

        yield from relay(self.answering.answer(session.thinking, manner), say)
        return self.brain.tokens.decode_all(spelling.ids)

    def _hearing(self) -> TurnHearing:
        return TurnHearing(MelStream(self.rule.mel_context_frames))

    def _perceived(self, hearing: TurnHearing, contents: Sequence[Content]) -> Work[list[Part]]:
        parts: list[Part] = []
        for content in contents:
            match content:
                case str():
                    parts.append(content)
                case Frame(pixels, max_slices):
                    tiles = yield See(pixels, max_slices)
                    parts.append(PictureRows(tiles, self._columns(content)))
                case Segment(samples):
                    parts.append(self._sound((yield HearClip(samples, None)), samples))
                case Unit(samples):
                    parts.append(self._sound((yield from hear_turn(hearing, samples)), samples))
        return parts

    def _sound(self, rows: Tensor, samples: Tensor) -> SoundRows:
        return SoundRows(rows[: self.places.num_audio_rows(len(samples))])

    def _columns(self, frame: Frame) -> int:
        size = (frame.pixels.shape[1], frame.pixels.shape[0])
        grid = slicing.plan(size, frame.max_slices, self.brain.eye.slicing).grid
        return grid[0] if grid else 0
