"""Full duplex: each second the model hears and sees, then listens or speaks; it decides which.

Hides the protocol of a unit (groups, decision, forced listening, condition, vocoder windows). One
`DuplexSession` is all a session is; `Duplex` says what it does next, as work for a scheduler.
Source: MiniCPM-o 4.5's demo and release, whose differences are fields of `DuplexRule`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omni.models.minicpmo.brain import (
    Brain,
    Decide,
    Emit,
    Feed,
    Hear,
    HearClip,
    Say,
    See,
    Sound,
    SpeechStream,
    Work,
)
from omni.models.minicpmo.prompt import Group, text_group
from omni.models.minicpmo.sampling import DecisionIds, Source
from omni.models.minicpmo.speech import SpeechOrder
from omni.models.minicpmo.unit import (
    FIRST_TAKEN,
    FRAMES_A_UNIT,
    UNIT_SAMPLES,
    DuplexRule,
    DuplexSession,
    SystemPrompt,
    UnitInput,
    UnitOutput,
)
from omni.models.minicpmo.window import UnitRows, Window

_FIRST_WINDOW = 8  # codes worth a vocoder call when a turn begins to be spoken


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What the model chose in a unit: its words with their states, and how it ended."""

    ids: tuple[int, ...]
    states: tuple[Tensor, ...]
    terminator: int
    is_turn_end: bool


class Duplex:
    def __init__(self, brain: Brain, rule: DuplexRule) -> None:
        ids = brain.tokens.ids
        self.brain = brain
        self.rule = rule
        self.ids = ids
        self.terminators = (ids.listen, ids.chunk_eos, ids.chunk_tts_eos)
        self.decision_ids = DecisionIds(
            chunk_eos=ids.chunk_eos,
            turn_eos=ids.turn_eos,
            scaled=ids.im_end if rule.is_as_released else ids.listen,
            forbidden=(ids.tts_pad, *brain.tokens.bad_ids),
        )

    def open(
        self, prompt: SystemPrompt, stream: SpeechStream | None, decision: Source, speech: Source
    ) -> Work[DuplexSession]:
        """Start a session: its system prompt, with the voice to speak in.

        Raises:
            SessionCapacity: all contexts are in use.
        """
        tokens = self.brain.tokens
        groups = [Group("text", tuple(tokens.encode(prompt.prefix)))]
        if prompt.reference is not None:
            embeds = yield HearClip(prompt.reference, self.brain.config.audio_chunk_s)
            groups.append(Group("audio", embeds=embeds))
        suffix = tokens.encode(prompt.suffix)
        window = Window(
            self.rule.window,
            sum(map(len, groups)),
            suffix,
            tokens.encode(self.rule.window.marker),
            tokens.special_ids | {self.ids.turn_eos},
        )
        context = self.brain.llm.open()
        try:
            voice = self.brain.talker.open()
        except Exception:
            context.close()
            raise
        session = DuplexSession(context, voice, stream, decision, speech, window)
        self._silence(session)
        try:
            yield Feed(context, (*groups, text_group(*suffix)))
        except BaseException:
            session.close()
            raise
        return session

    def unit(self, session: DuplexSession, unit: UnitInput) -> Work[UnitOutput]:
        """Hear and see one second, then listen or speak.

        Raises:
            StageError: the context is full.
        """
        start = len(session.context)
        groups = yield from self._perceive(session, unit)
        states = yield Feed(session.context, groups)
        is_forced = unit.is_listen_forced or session.num_units < self.rule.num_forced_listens
        session.num_units += 1
        if is_forced:
            choice = yield from self._force_listen(session)
        else:
            choice = yield from self._decide(session, states[-1])
        output = yield from self._speak(session, choice)
        yield Emit(output)
        yield Feed(session.context, (text_group(choice.terminator, self.ids.unit_end),))
        rows = len(session.context) - start
        session.window.add(UnitRows(session.num_units - 1, rows, output.ids, output.is_listen))
        session.window.slide(self.brain, session.context, is_turn_open=session.is_turn_open)
        return output

    def _perceive(self, session: DuplexSession, unit: UnitInput) -> Work[tuple[Group, ...]]:
        """The unit's input groups, in the order they were trained in."""
        groups = [text_group(self.ids.unit)]
        for picture, max_slices in unit.pictures:
            overview, *slices = yield See(picture, max_slices)
            groups += self._tile(self.ids.image, overview, self.ids.image_end)
            for tile in slices:
                groups += self._tile(self.ids.slice, tile, self.ids.slice_end)
        if unit.samples is not None:
            samples = torch.cat([session.lag, unit.samples])
            taken = FIRST_TAKEN if session.mel.is_first else UNIT_SAMPLES
            if len(samples) < taken:
                raise ValueError(f"a unit has {UNIT_SAMPLES} samples, not {len(unit.samples)}")
            session.lag = samples[taken:]
            chunk = session.mel.push(samples[:taken], FRAMES_A_UNIT)
            embeds = yield Hear(session.heard, chunk)
            groups.append(Group("audio", embeds=embeds))
        return tuple(groups)

    @staticmethod
    def _tile(opening: int, embeds: Tensor, closing: int) -> list[Group]:
        return [text_group(opening), Group("image", embeds=embeds), text_group(closing)]

    def _force_listen(self, session: DuplexSession) -> Work[Choice]:
        """Interrupted from outside: close the turn, and forget the speech that was under way."""
        if session.is_turn_open:
            yield Feed(session.context, (text_group(self.ids.turn_eos),))
            session.is_turn_open = False
            self._silence(session)
            if not self.rule.is_as_released:
                session.speech.clear()
        return Choice((), (), self.ids.listen, is_turn_end=False)

    def _decide(self, session: DuplexSession, state: Tensor) -> Work[Choice]:
        said: list[int] = []
        states: list[Tensor] = []
        is_turn_end = False
        for index in range(self.rule.max_tokens - 1):
            token = yield Decide(
                state, session.history, self.rule.decision, self.decision_ids,
                session.decision_source,
            )  # fmt: skip
            if token == self.ids.listen and session.is_turn_open:
                token = self.ids.tts_bos  # an open turn is only left through its end
            if token in self.terminators:
                return Choice(tuple(said), tuple(states), token, is_turn_end)
            if index and self._is_too_long([*said, token]):
                session.is_turn_open |= self.rule.is_as_released  # even after the turn's end
                break
            fed = yield Feed(session.context, (text_group(token),))
            state = fed[-1]
            is_turn_end = token == self.ids.turn_eos
            session.is_turn_open = not is_turn_end
            if index:  # the first token says that it speaks, and is not spoken
                said.append(token)
                states.append(state)
        return Choice(tuple(said), tuple(states), self.ids.chunk_eos, is_turn_end)

    def _is_too_long(self, ids: Sequence[int]) -> bool:
        limit = self.rule.max_chars
        return limit is not None and len(self.brain.tokens.decode(ids)) >= limit

    def _speak(self, session: DuplexSession, choice: Choice) -> Work[UnitOutput]:
        """Turn the words into speech; at the end of a turn, all of it."""
        is_listen = choice.terminator == self.ids.listen
        is_lost = is_listen and (self.rule.is_as_released or not choice.is_turn_end)
        if is_lost:
            return UnitOutput(True, False, (), "", (), torch.zeros(0))
        text = self.brain.tokens.decode(choice.ids)
        if not self.rule.is_spoken:
            return UnitOutput(is_listen, choice.is_turn_end, choice.ids, text, (), torch.zeros(0))
        is_start = len(session.speech) == 0
        states = torch.stack(choice.states) if choice.states else self._no_states()
        speech = self.brain.config.speech
        condition = self.brain.talker.model.condition(choice.ids, states, [speech.audio_bos_id])
        if session.speech.room < len(condition) + speech.chunk_codes:
            session.speech.clear()  # a turn longer than the speech LM can remember goes on afresh
        order = SpeechOrder(
            session.speech,
            condition,
            recent=[],
            min_codes=0 if choice.is_turn_end or is_start else speech.chunk_codes,
            max_codes=speech.chunk_codes,
            source=session.speech_source,
            is_last_fed=True,
        )
        codes = yield Say(order, self.rule.speech)
        session.codes += codes
        sounds = yield from self._sound(session, is_start=is_start, is_end=choice.is_turn_end)
        if choice.is_turn_end:
            session.speech.clear()
            self._silence(session)
        samples = torch.cat([torch.zeros(0), *(sound.cpu() for sound in sounds)])
        return UnitOutput(is_listen, choice.is_turn_end, choice.ids, text, tuple(codes), samples)

    def _sound(self, session: DuplexSession, *, is_start: bool, is_end: bool) -> Work[list[Tensor]]:
        """Vocode what is worth a window, with its look-ahead left for the next one."""
        speech = self.brain.config.speech
        worth = _FIRST_WINDOW if is_start else self.rule.min_window
        sounds = []
        while len(session.codes) >= worth:
            codes = tuple(session.codes[: speech.chunk_codes + speech.lookahead])
            sounds.append((yield Sound(session.stream, codes, is_last=False)))
            session.codes = session.codes[min(speech.chunk_codes, len(codes) - speech.lookahead) :]
        if is_end and session.codes:
            sounds.append((yield Sound(session.stream, tuple(session.codes), is_last=True)))
        return sounds

    def _silence(self, session: DuplexSession) -> None:
        """Make the vocoder ready for a new turn: it begins by looking ahead over silence."""
        if session.stream is None or self.brain.vocoder is None:
            return
        session.stream.reset()
        silence = self.brain.vocoder.silence_code
        session.codes = [silence] * self.brain.config.speech.lookahead

    def _no_states(self) -> Tensor:
        return self.brain.llm.embed(())
