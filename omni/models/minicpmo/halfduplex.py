"""Half duplex: someone else finds the user's turns; the model reads them as they come, and answers.

Hides how turns are framed, how words become speech ten at a time, and when text is whole enough
to show. Source: MiniCPM-o 4.5's streaming chat. Thinking, where it is on, is never spoken.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from omni.media import slicing
from omni.models.minicpmo import prompt
from omni.models.minicpmo.brain import Brain
from omni.models.minicpmo.mel import MelChunk, MelStream
from omni.models.minicpmo.prompt import text_group
from omni.models.minicpmo.rounds import ExactRounds, Rounds
from omni.models.minicpmo.sampling import Source, TextSampler
from omni.models.minicpmo.speech import SpeechOrder
from omni.models.minicpmo.turns import (
    Answer,
    Content,
    Frame,
    HalfDuplexRule,
    HalfDuplexSession,
    Said,
    Segment,
    Unit,
)
from omni.models.minicpmo.unit import FIRST_PADDED, FRAMES_A_UNIT, UNIT_SAMPLES
from omni.models.minicpmo.wishes import (
    Choose,
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

_USER = "<|im_start|>user\n"
_AFTER_ANSWER = "<|tts_eos|><|im_end|>\n"
_ANSWER = "<|im_end|>\n<|im_start|>assistant\n"
_NO_THOUGHT = "<think>\n\n</think>\n\n"
_SPOKEN = "<|tts_bos|>"
_BROKEN = "\ufffd"  # bytes that are no character yet


class HalfDuplex:
    def __init__(self, brain: Brain, rule: HalfDuplexRule) -> None:
        self.brain = brain
        self.rule = rule
        self.places = prompt.Places(brain.config.num_queries, brain.config.audio_pool)

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
        context = self.brain.llm.open()
        try:
            voice = self.brain.talker.open()
        except Exception:
            context.close()
            raise
        mel = MelStream(self.rule.mel_context_frames)
        kept = ExactRounds() if rounds is None else rounds
        session = HalfDuplexSession(context, voice, stream, *sources, kept, mel)
        template = self.brain.tokens.message("system", self._marked(system))
        try:
            yield from self._read(session, template, system)
        except BaseException:
            session.close()
            raise
        return session

    def read(self, session: HalfDuplexSession, contents: Sequence[Content]) -> Work[None]:
        """Read a piece of the user's turn: words, pictures and sound in the order given.

        Raises:
            StageError: the context is full.
        """
        opening = ""
        if not session.is_turn_open:
            opening = (_AFTER_ANSWER if session.has_answered else "") + _USER
            session.rounds.begin(session.context)
            session.is_turn_open = True
        self._slide(session)
        yield from self._read(session, opening + self._marked(contents), contents)
        self._slide(session)

    def answer(self, session: HalfDuplexSession) -> Work[str]:
        """Answer the user's turn; emits `Said` as it goes on, and returns all of the text."""
        session.is_turn_open, session.has_answered = False, True
        session.heard.clear()
        session.mel = MelStream(self.rule.mel_context_frames)
        session.speech.clear()
        session.stream.reset()
        silence = self.brain.vocoder.silence_code if self.brain.vocoder else 0
        answer = Answer(window=[silence] * self.brain.config.speech.lookahead)
        answer.is_thinking = self.rule.is_thinking
        header = _ANSWER + ("" if self.rule.is_thinking else _NO_THOUGHT) + _SPOKEN
        states = yield Feed(session.context, (text_group(*self.brain.tokens.encode(header)),))
        yield from self._words(session, answer, states[-1])
        yield from self._last_window(session, answer)
        text = self.brain.tokens.decode_all(answer.spoken)
        session.rounds.answered(len(self.brain.tokens.encode(text)))
        return text

    def _read(
        self, session: HalfDuplexSession, template: str, contents: Sequence[Content]
    ) -> Work[None]:
        written = prompt.write(
            self.brain.tokens, self.places, template, [self._place(c) for c in contents],
            has_image_ids=False,
        )  # fmt: skip
        images: list[Tensor] = []
        sounds: list[Tensor] = []
        for content in contents:
            match content:
                case Frame(pixels, max_slices):
                    images += yield See(pixels, max_slices)
                case Segment(samples):
                    sounds.append((yield HearClip(samples, None)))
                case Unit(samples):
                    sounds.append((yield Hear(session.heard, self._mel(session, samples))))
        groups = written.filled(images, torch.cat(sounds) if sounds else None)
        yield Feed(session.context, groups)
        num_rows = sum(map(len, groups))
        session.rounds.read("user" if session.is_turn_open else "system", num_rows)

    def _mel(self, session: HalfDuplexSession, samples: Tensor) -> MelChunk:
        """The next second's frames. They are not cut back to it: the released code does not."""
        if len(samples) != UNIT_SAMPLES:
            raise ValueError(f"a unit has {UNIT_SAMPLES} samples, not {len(samples)}")
        if session.mel.is_first:
            samples = torch.cat([torch.zeros(FIRST_PADDED - UNIT_SAMPLES), samples])
        return MelChunk(session.mel.push(samples, FRAMES_A_UNIT).frames, left=0, right=0)

    def _words(self, session: HalfDuplexSession, answer: Answer, state: Tensor) -> Work[None]:
        """Choose words and speak them, until the answer ends or is too long."""
        size, num_fed = self.rule.condition_tokens, 0
        sampler = TextSampler(self.rule.text, self.brain.tokens.text_ids, session.text_source)
        while True:
            # Repetition counts all ids since the last spoken condition, and a window before them.
            start = 0 if len(answer.ids) <= size else 1 + (len(answer.ids) - 1) // size * size
            before = answer.ids[:start][-self.rule.text.repetition_window :]
            token = yield Choose(state, (*before, *answer.ids[start:]), sampler)
            is_end = token in sampler.ids.terminators
            if len(answer.waiting) == size or is_end or num_fed == self.rule.max_tokens:
                yield from self._speak(session, answer, is_end=is_end)
            if is_end or num_fed == self.rule.max_tokens:
                return
            fed = yield Feed(session.context, (text_group(token),))
            state, num_fed = fed[-1], num_fed + 1
            answer.ids.append(token)
            if self._is_word(answer, token):
                answer.waiting.append(token)
                answer.states.append(state)

    def _is_word(self, answer: Answer, token: int) -> bool:
        """False for thoughts and what frames them."""
        ids = self.brain.tokens.ids
        if token in (ids.think, ids.think_end):
            answer.is_thinking = token == ids.think
            return not self.rule.is_thinking
        return not answer.is_thinking

    def _speak(self, session: HalfDuplexSession, answer: Answer, *, is_end: bool) -> Work[None]:
        """Say the waiting words; every full window goes out with the text that is whole."""
        if not answer.waiting and not answer.spoken:
            return  # nothing at all was said
        speech = self.brain.config.speech
        marks = [speech.text_eos_id, speech.audio_bos_id] if is_end else [speech.audio_bos_id]
        states = torch.stack(answer.states) if answer.states else self.brain.llm.embed(())
        condition = self.brain.talker.model.condition(answer.waiting, states, marks)
        answer.spoken += answer.waiting
        answer.waiting, answer.states = [], []
        if session.speech.room < len(condition) + speech.chunk_codes:
            session.speech.clear()  # an answer longer than the speech LM can remember
        most = min(self.rule.max_condition_codes, session.speech.room - len(condition))
        order = SpeechOrder(session.speech, condition, answer.codes, 0, most, session.speech_source)
        answer.fresh += yield Say(order, self.rule.speech)
        while len(answer.fresh) >= speech.chunk_codes:
            answer.window += answer.fresh[: speech.chunk_codes]
            answer.fresh = answer.fresh[speech.chunk_codes :]
            size = speech.chunk_codes + speech.lookahead
            if len(answer.window) >= size:
                samples = yield Sound(session.stream, tuple(answer.window[:size]), is_last=False)
                answer.window = answer.window[speech.chunk_codes :]
                yield Emit(Said(samples.cpu(), self._fresh_text(answer, is_last=False)))

    def _last_window(self, session: HalfDuplexSession, answer: Answer) -> Work[None]:
        if not answer.codes:
            return
        codes = (*answer.window, *answer.fresh)
        samples = yield Sound(session.stream, codes, is_last=True)
        yield Emit(Said(samples.cpu(), self._fresh_text(answer, is_last=True)))

    def _fresh_text(self, answer: Answer, *, is_last: bool) -> str:
        """What was not shown yet, without characters whose bytes are still coming."""
        text = self.brain.tokens.decode_all(answer.spoken)
        if not is_last:
            text = text.rstrip(_BROKEN)
        fresh = text[answer.num_shown :]
        answer.num_shown = max(answer.num_shown, len(text))
        return fresh

    def _slide(self, session: HalfDuplexSession) -> None:
        if self.rule.limits is not None:
            session.rounds.slide(session.context, self.rule.limits)

    def _marked(self, contents: Sequence[Content]) -> str:
        return "".join(prompt.mark(self._place(content)) for content in contents)

    def _place(self, content: Content) -> prompt.Content:
        match content:
            case Frame(pixels, max_slices):
                size = (pixels.shape[1], pixels.shape[0])
                return prompt.Picture(slicing.plan(size, max_slices, self.brain.eye.slicing))
            case Unit(samples) | Segment(samples):
                return prompt.Sound(len(samples))
            case str():
                return content
