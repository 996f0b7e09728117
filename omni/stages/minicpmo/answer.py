"""The mind in half duplex: reads the user's turn as it comes, piece by piece, and answers it.

Hides when a piece is whole: its sound and its pictures have come, or the next piece's sound has
come before its pictures. Laws: what a session says depends on its own pieces and seed alone; a
thought leaves this stage neither as text nor as words for the mouth.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from omni.models.minicpmo.answering import Answering
from omni.models.minicpmo.brain import Mind
from omni.models.minicpmo.decoder import Context
from omni.models.minicpmo.parts import Part, PictureRows, SoundRows
from omni.models.minicpmo.rounds import ExactRounds
from omni.models.minicpmo.sampling import greedy, seeded
from omni.models.minicpmo.scheduler import run
from omni.models.minicpmo.turns import HalfDuplexRule, Manner, Spelling, TurnThinking, Words
from omni.models.minicpmo.wishes import Emit, Work
from omni.stages.minicpmo.lane import Task
from omni.stages.minicpmo.mind_stage import MindStage
from omni.stages.minicpmo.voices import Voices
from omni.types import Chunk, Fence, Token, frozen_array
from omni.units import (
    AnswerWords,
    BeginContext,
    PictureEmbeddings,
    Respond,
    SoundEmbeddings,
    TakeBack,
    TurnPart,
    TurnRead,
)

CLONE = "Clone the voice in the provided audio prompt."  # the released system prompt's opening


@dataclass(slots=True, eq=False)
class _Session:
    """A session's context, the pieces that are not whole yet, and the reply made last."""

    context: Context
    begun: BeginContext | None = None
    thinking: TurnThinking | None = None
    waiting: deque[TurnPart | Respond] = field(default_factory=deque)
    sounds: dict[int, SoundRows] = field(default_factory=dict)
    pictures: dict[int, list[PictureEmbeddings]] = field(default_factory=dict)
    last_sound: int = -1
    next_part: int = 0
    response_id: str = ""


class AnswerStage(MindStage[_Session]):
    """Args:
    make_mind: loads the LLM; called on the worker thread.
    rule: how sessions behave.
    voices: whose clips are waited for.
    """

    def __init__(self, make_mind: Callable[[], Mind], rule: HalfDuplexRule, voices: Voices) -> None:
        super().__init__(make_mind)
        self._rule = rule
        self._voices = voices

    def _opened(self, context: Context) -> _Session:
        return _Session(context)

    def _accept(self, session: _Session, chunk: Chunk) -> None:
        match chunk:
            case BeginContext():
                session = self._anew(session, chunk)
            case SoundEmbeddings(of="reference"):
                if session.begun and session.begun.unit_index == chunk.unit_index:
                    clip = SoundRows(torch.tensor(chunk.rows))
                    self._begin(session, session.begun, (CLONE, clip))
            case SoundEmbeddings():
                session.sounds[chunk.unit_index] = SoundRows(torch.tensor(chunk.rows))
                session.last_sound = max(session.last_sound, chunk.unit_index)
            case PictureEmbeddings():
                if chunk.unit_index >= session.next_part:
                    session.pictures.setdefault(chunk.unit_index, []).append(chunk)
            case TurnPart() | Respond():
                session.waiting.append(chunk)
            case TakeBack():
                if session.thinking and session.response_id == chunk.response_id:
                    self._answering.take_back(session.thinking, chunk.heard)
            case Fence():
                self._lane.drop(chunk.session_id, Respond)
                left = [c for c in session.waiting if isinstance(c, TurnPart)]
                session.waiting = deque(left)
        self._hand_on(session)

    def _prepare(self) -> None:
        self._answering = Answering(self._mind, self._rule)
        context = self._mind.llm.open()
        thinking = run(
            self._mind, self._answering.begin(context, ("Ready.",), greedy, ExactRounds())
        )
        run(self._mind, self._answering.answer(thinking, Manner(max_tokens=1)))
        context.close()

    def _anew(self, session: _Session, begun: BeginContext) -> _Session:
        self._lane.cancel(begun.session_id)
        session.context.clear()
        fresh = _Session(session.context, begun, next_part=begun.unit_index)
        self._sessions[begun.session_id] = fresh
        if not self._voices.has_clip(begun.voice):
            self._begin(fresh, begun, ())
        return fresh

    def _begin(self, session: _Session, begun: BeginContext, opening: tuple[Part, ...]) -> None:
        system = (*opening, begun.instructions)

        def work() -> Work[None]:
            begin = self._answering.begin(
                session.context, system, seeded(begun.seed), ExactRounds()
            )
            session.thinking = yield from begin

        self._lane.add(Task(begun, work))

    def _hand_on(self, session: _Session) -> None:
        """Hand on, in order, all that is whole."""
        while session.waiting and self._is_whole(session, session.waiting[0]):
            chunk = session.waiting.popleft()
            if isinstance(chunk, Respond):
                self._lane.add(self._answer(session, chunk))
            else:
                self._lane.add(self._read(session, chunk))

    def _is_whole(self, session: _Session, chunk: TurnPart | Respond) -> bool:
        if isinstance(chunk, Respond):
            return True
        index = chunk.unit_index
        if chunk.has_sound and index not in session.sounds:
            return False
        has_pictures = len(session.pictures.get(index, ())) >= chunk.num_pictures
        return has_pictures or session.last_sound > index

    def _read(self, session: _Session, part: TurnPart) -> Task:
        session.next_part = part.unit_index + 1
        parts: list[Part] = [
            PictureRows(list(torch.tensor(seen.tiles)), seen.columns)
            for seen in session.pictures.pop(part.unit_index, [])
            if len(seen.tiles)
        ]
        if part.has_sound:
            parts.append(session.sounds.pop(part.unit_index))
        if part.text:
            parts.append(part.text)

        def work() -> Work[None]:
            assert session.thinking is not None  # its task came before
            if parts:
                yield from self._answering.read(session.thinking, parts)
            yield Emit(len(session.context))

        stamp = (part.session_id, part.epoch, part.unit_index)
        return Task(part, work, lambda num_rows: [TurnRead(*stamp, num_rows)])

    def _answer(self, session: _Session, respond: Respond) -> Task:
        spelling = Spelling(self._mind.tokens.decode)
        manner = Manner(respond.is_thinking, respond.is_spoken, respond.max_tokens)

        def work() -> Work[None]:
            assert session.thinking is not None  # its task came before
            session.response_id = respond.response_id
            yield from self._answering.answer(session.thinking, manner)

        return Task(respond, work, lambda words: self._told(session, respond, spelling, words))

    def _told(
        self, session: _Session, respond: Respond, spelling: Spelling, words: Words
    ) -> list[Chunk]:
        """What words mean to the mouth and to the gateway."""
        stamp = (respond.session_id, respond.epoch, respond.unit_index, respond.response_id)
        spelling.ids += words.ids
        text = spelling.fresh(is_last=words.finish is not None)
        num_words, num_rows = len(spelling.ids), len(session.context)
        before = (
            session.thinking.answer.start if session.thinking and session.thinking.answer else 0
        )
        token = Token(
            *stamp, num_words, text, None, words.finish, before, before, num_rows - before
        )
        if not respond.is_spoken:
            return [token]
        states = frozen_array(words.states.float().cpu().numpy())
        return [AnswerWords(*stamp, text, words.ids, states, words.finish), token]
