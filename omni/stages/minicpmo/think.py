"""The mind: joins what was heard and seen into units, and listens or speaks in each.

Hides when a unit is whole: its plan and its sound have come, and its pictures, unless the next
second has come before them; a picture that missed its unit is read with a later one. Law: what a
session says depends on its own units and seed alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from omni.dialog.tdm import Group, Multiplexer, Unit
from omni.models.minicpmo import prompt
from omni.models.minicpmo.brain import Mind
from omni.models.minicpmo.deciding import Choice, Deciding
from omni.models.minicpmo.decoder import Context
from omni.models.minicpmo.perceiving import unit_groups
from omni.models.minicpmo.sampling import greedy, seeded
from omni.models.minicpmo.scheduler import run
from omni.models.minicpmo.unit import DuplexRule, Thinking
from omni.models.minicpmo.wishes import Emit, Work
from omni.stages.minicpmo.lane import Task
from omni.stages.minicpmo.mind_stage import MindStage
from omni.stages.minicpmo.voices import Voices
from omni.types import Chunk, frozen_array
from omni.units import (
    BeginContext,
    Chosen,
    PictureEmbeddings,
    SoundEmbeddings,
    UnitPlan,
    UnitWords,
)

_BROKEN = "\ufffd"  # bytes that are no character yet


@dataclass(slots=True, eq=False)
class _Session:
    """A session's context, the units that are not whole yet, and the reply it is in."""

    context: Context
    begun: BeginContext | None = None
    thinking: Thinking | None = None
    mux: Multiplexer = field(default_factory=Multiplexer)
    plans: dict[int, UnitPlan] = field(default_factory=dict)
    sounds: set[int] = field(default_factory=set)
    num_pictures: dict[int, int] = field(default_factory=dict)  # that have come, of each unit
    next_unit: int = 0
    num_replies: int = 0
    said: list[int] | None = None  # ids of the reply under way
    num_shown: int = 0  # characters of it


class ThinkStage(MindStage[_Session]):
    """Args:
    make_mind: loads the LLM; called on the worker thread.
    rule: how sessions behave.
    voices: whose clips are waited for.
    """

    def __init__(self, make_mind: Callable[[], Mind], rule: DuplexRule, voices: Voices) -> None:
        super().__init__(make_mind)
        self._rule = rule
        self._voices = voices

    def _opened(self, context: Context) -> _Session:
        return _Session(context)

    def _accept(self, session: _Session, chunk: Chunk) -> None:
        match chunk:
            case BeginContext():
                self._lane.cancel(chunk.session_id)
                session.context.clear()
                session = _Session(session.context, chunk, next_unit=chunk.unit_index)
                self._sessions[chunk.session_id] = session
                if not self._voices.has_clip(chunk.voice):
                    self._begin(session, chunk, None)
            case SoundEmbeddings(of="reference"):
                if session.begun and session.begun.unit_index == chunk.unit_index:
                    self._begin(session, session.begun, _tensor(chunk.rows))
            case SoundEmbeddings():
                session.sounds.add(chunk.unit_index)
                session.mux.add(chunk.unit_index, Group("audio", embeddings=chunk.rows))
            case PictureEmbeddings():
                index = chunk.unit_index
                if index >= session.next_unit:
                    session.num_pictures[index] = session.num_pictures.get(index, 0) + 1
                if len(chunk.tiles):
                    session.mux.add(index, Group("vision", embeddings=chunk.tiles))
            case UnitPlan():
                session.plans[chunk.unit_index] = chunk
                if chunk.text:
                    session.mux.add(chunk.unit_index, Group("text", chunk.text))
        self._close_units(session)

    def _prepare(self) -> None:
        self._deciding = Deciding(self._mind, self._rule)
        context = self._mind.llm.open()
        begin = self._deciding.begin(context, ("", "Ready."), None, greedy)
        thinking = run(self._mind, begin)
        groups = unit_groups(self._deciding.ids, [], None)
        choice = run(self._mind, self._deciding.choose(thinking, groups, is_listen_forced=False))
        run(self._mind, self._deciding.close(thinking, choice))
        context.close()

    def _begin(
        self, session: _Session, begun: BeginContext, reference: torch.Tensor | None
    ) -> None:
        marks = ("\n<|audio_start|>", "<|audio_end|>") if reference is not None else ("", "")
        texts = (f"<|im_start|>system\n{begun.instructions}{marks[0]}", f"{marks[1]}<|im_end|>")

        def work() -> Work[None]:
            source = seeded(begun.seed)
            begin = self._deciding.begin(session.context, texts, reference, source)
            session.thinking = yield from begin

        self._lane.add(Task(begun, work))

    def _close_units(self, session: _Session) -> None:
        """Hand on every unit that is whole."""
        while (
            plan := session.plans.get(session.next_unit)
        ) and session.next_unit in session.sounds:
            index = session.next_unit
            has_pictures = session.num_pictures.get(index, 0) >= plan.num_pictures
            if not has_pictures and index + 1 not in session.sounds:
                return
            session.next_unit += 1
            del session.plans[index]
            session.sounds.discard(index)
            session.num_pictures.pop(index, None)
            for unit in session.mux.close_until(index):
                if unit.unit_index == index:
                    self._lane.add(self._task(session, plan, unit))

    def _task(self, session: _Session, plan: UnitPlan, unit: Unit) -> Task:
        def work() -> Work[None]:
            thinking = session.thinking
            assert thinking is not None  # its task came before
            choice = yield from self._deciding.choose(
                thinking, self._groups(unit), is_listen_forced=plan.is_listen_forced
            )
            yield Emit(choice)
            yield from self._deciding.close(thinking, choice)

        return Task(plan, work, lambda choice: self._told(session, plan, choice))

    def _groups(self, unit: Unit) -> tuple[prompt.Group, ...]:
        pictures = [
            list(_tensor(group.embeddings))
            for group in unit.groups
            if group.modality == "vision" and group.embeddings is not None
        ]
        sounds = [g.embeddings for g in unit.groups if g.modality == "audio"]
        sound = _tensor(sounds[0]) if sounds[0] is not None else None
        written = [g.text for g in unit.groups if g.modality == "text"]
        ids = self._mind.tokens.encode("\n".join(written)) if written else []
        groups = unit_groups(self._deciding.ids, pictures, sound)
        return (*groups, prompt.text_group(*ids)) if ids else groups

    def _told(self, session: _Session, plan: UnitPlan, choice: Choice) -> list[Chunk]:
        """What a choice means to the gateway and to the mouth."""
        stamp = (plan.session_id, plan.epoch, plan.unit_index)
        is_silent = choice.is_listen and not choice.is_turn_end
        if choice.is_interrupted:
            session.said = None
        if session.said is None and not is_silent:
            session.num_replies += 1
            session.said, session.num_shown = [], 0
        text = "" if session.said is None else self._shown(session, choice)
        name = str(session.num_replies)
        context_tokens = len(session.context)
        chosen = Chosen(
            *stamp, name, choice.is_listen, choice.is_turn_end, text, len(choice.ids),
            context_tokens,
        )  # fmt: skip
        if choice.is_turn_end:
            session.said = None
        if is_silent or not plan.is_spoken:
            return [chosen]
        states = frozen_array(self._deciding.stacked(choice).float().cpu().numpy())
        words = UnitWords(*stamp, name, text, choice.ids, states, choice.is_turn_end)
        return [words, chosen]

    def _shown(self, session: _Session, choice: Choice) -> str:
        """The text that is whole by now and was not told yet."""
        assert session.said is not None
        session.said += choice.ids
        text = self._mind.tokens.decode(session.said)
        if not choice.is_turn_end:
            text = text.rstrip(_BROKEN)
        fresh = text[session.num_shown :]
        session.num_shown = max(session.num_shown, len(text))
        return fresh


def _tensor(rows: object) -> torch.Tensor:
    return torch.tensor(rows)
