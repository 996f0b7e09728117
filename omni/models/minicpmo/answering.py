"""The mind in half duplex: reads the user's turn as it comes, then thinks and answers.

Hides how turns are framed and what of an answer is words. Laws: thoughts are never given out; what
was not heard of an answer can be taken back. Source: MiniCPM-o 4.5's streaming chat.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from omni.models.minicpmo.brain import Mind
from omni.models.minicpmo.decoder import Context
from omni.models.minicpmo.parts import Part, groups_of
from omni.models.minicpmo.prompt import text_group
from omni.models.minicpmo.rounds import Rounds
from omni.models.minicpmo.sampling import Source, TextSampler
from omni.models.minicpmo.turns import (
    Answer,
    Finish,
    HalfDuplexRule,
    Manner,
    Spelling,
    TurnThinking,
    Words,
)
from omni.models.minicpmo.wishes import Choose, Emit, Feed, Work

_USER = "<|im_start|>user\n"
_ASSISTANT = "<|im_start|>assistant\n"
_CLOSED = "<|im_end|>\n"
_SPOKEN_END = "<|tts_eos|>"
_NO_THOUGHT = "<think>\n\n</think>\n\n"
_THOUGHT_END = "\n</think>\n\n"
_SPOKEN = "<|tts_bos|>"


class Answering:
    def __init__(self, mind: Mind, rule: HalfDuplexRule) -> None:
        self.mind = mind
        self.rule = rule

    def begin(
        self, context: Context, system: Sequence[Part], source: Source, rounds: Rounds
    ) -> Work[TurnThinking]:
        """Read the system message into an empty context."""
        thinking = TurnThinking(context, source, rounds)
        parts = ("<|im_start|>system\n", *system, _CLOSED)
        yield from self._feed(thinking, parts)
        return thinking

    def read(self, thinking: TurnThinking, parts: Sequence[Part]) -> Work[None]:
        """Read a piece of the user's turn.

        Raises:
            StageError: the context is full.
        """
        opening = ""
        if not thinking.is_turn_open:
            opening = thinking.closing + _USER
            thinking.rounds.begin(thinking.context)
            thinking.is_turn_open, thinking.answer = True, None
        self._slide(thinking)
        yield from self._feed(thinking, (opening, *parts))
        self._slide(thinking)

    def answer(self, thinking: TurnThinking, manner: Manner) -> Work[None]:
        """Answer the user's turn; emits `Words` as they are chosen, the last with its finish."""
        is_spoken = manner.is_spoken and self.mind.can_speak
        manner = replace(manner, is_spoken=is_spoken)
        before, was_open = thinking.closing, thinking.is_turn_open
        can_think = self.mind.tokens.ids.think >= 0
        manner = replace(manner, is_thinking=manner.is_thinking and can_think)
        answer = Answer(len(thinking.context), before, manner.is_thinking, was_open)
        thinking.answer, thinking.is_turn_open = answer, False
        thinking.closing = (_SPOKEN_END if manner.is_spoken else "") + _CLOSED
        header = (_CLOSED if was_open else before) + _ASSISTANT
        header += _NO_THOUGHT if can_think and not manner.is_thinking else ""
        header += _SPOKEN if manner.is_spoken else ""
        fed = yield Feed(thinking.context, (text_group(*self.mind.tokens.encode(header)),))
        yield from self._words(thinking, answer, manner, fed[-1])
        text = self.mind.tokens.decode_all(answer.words)
        thinking.rounds.answered(len(self.mind.tokens.encode(text)))

    def take_back(self, thinking: TurnThinking, heard: str) -> None:
        """Forget what was not heard of the last answer; all of it, if nothing was.

        Args:
            heard: the beginning of its text. Nothing happens if something was read since.
        """
        answer = thinking.answer
        if answer is None:
            return
        spelling = Spelling(self.mind.tokens.decode)
        spelling.ids = answer.words
        count = spelling.num_ids(len(heard)) if heard.strip() else 0
        if count:
            thinking.context.truncate(answer.rows[count - 1])
        else:
            thinking.context.truncate(answer.start)
            thinking.is_turn_open, thinking.closing = answer.was_open, answer.closing
        thinking.answer = None

    def _feed(self, thinking: TurnThinking, parts: Sequence[Part]) -> Work[None]:
        groups = groups_of(self.mind.tokens, parts)
        yield Feed(thinking.context, groups)
        num_rows = sum(map(len, groups))
        thinking.rounds.read("user" if thinking.is_turn_open else "system", num_rows)

    def _words(
        self, thinking: TurnThinking, answer: Answer, manner: Manner, state: Tensor
    ) -> Work[None]:
        """Choose words and give them out, until the answer ends or is too long."""
        sampler = self._sampler(thinking, manner)
        limit = manner.max_tokens or self.rule.max_tokens
        size = self.rule.condition_tokens if manner.is_spoken else 1
        num_fed = 0
        while True:
            token = yield Choose(state, self._seen(answer), sampler)
            is_end = token in sampler.ids.terminators
            is_over = is_end or num_fed == limit
            if is_over:
                yield Emit(self._given(answer, "stop" if is_end else "length"))
                return
            if len(answer.waiting) == size:
                yield Emit(self._given(answer, None))
            if answer.is_thinking and answer.num_thoughts == self.rule.max_thoughts:
                state = yield from self._end_thought(thinking, answer)
                continue
            fed = yield Feed(thinking.context, (text_group(token),))
            state = fed[-1]
            answer.ids.append(token)
            if not self._is_word(answer, manner, token):
                answer.num_thoughts += 1
                continue
            num_fed += 1
            answer.words.append(token)
            answer.rows.append(len(thinking.context))
            answer.waiting.append(token)
            answer.states.append(state)

    def _sampler(self, thinking: TurnThinking, manner: Manner) -> TextSampler:
        ids = self.mind.tokens.text_ids
        if not manner.is_spoken:
            ids = replace(ids, forbidden=self.mind.tokens.bad_ids)
        return TextSampler(self.rule.text, ids, thinking.source)

    def _seen(self, answer: Answer) -> tuple[int, ...]:
        """What counts as repeated: all ids since the last spoken condition, and a window before."""
        size, ids = self.rule.condition_tokens, answer.ids
        start = 0 if len(ids) <= size else 1 + (len(ids) - 1) // size * size
        return (*ids[:start][-self.rule.text.repetition_window :], *ids[start:])

    def _is_word(self, answer: Answer, manner: Manner, token: int) -> bool:
        """False for thoughts, what frames them, and the empty lines after them."""
        tokens = self.mind.tokens
        if token in (tokens.ids.think, tokens.ids.think_end):
            answer.is_thinking = token == tokens.ids.think
            return not manner.is_thinking
        if manner.is_thinking and not answer.words and not tokens.decode([token]).strip("\n"):
            return False
        return not answer.is_thinking

    def _end_thought(self, thinking: TurnThinking, answer: Answer) -> Work[Tensor]:
        """It has thought for long enough: have it answer."""
        ids = self.mind.tokens.encode(_THOUGHT_END)
        fed = yield Feed(thinking.context, (text_group(*ids),))
        answer.ids += ids
        answer.is_thinking = False
        state: Tensor = fed[-1]
        return state

    def _given(self, answer: Answer, finish: Finish) -> Words:
        states = torch.stack(answer.states) if answer.states else self.mind.llm.embed(())
        words = Words(tuple(answer.waiting), states, finish)
        answer.waiting, answer.states = [], []
        return words

    def _slide(self, thinking: TurnThinking) -> None:
        if self.rule.limits is not None:
            thinking.rounds.slide(thinking.context, self.rule.limits)
