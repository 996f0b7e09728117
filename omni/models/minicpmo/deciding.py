"""Listen or speak: what the mind does with a unit, word by word.

Hides the protocol of a unit (decision, forced listening, what ends it) and what of a context is
forgotten. Source: MiniCPM-o 4.5's demo and release, whose differences are fields of `DuplexRule`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omni.models.minicpmo.brain import Mind
from omni.models.minicpmo.decoder import Context
from omni.models.minicpmo.prompt import Group, text_group
from omni.models.minicpmo.sampling import DecisionIds, Source
from omni.models.minicpmo.unit import DuplexRule, Thinking
from omni.models.minicpmo.window import UnitRows, Window
from omni.models.minicpmo.wishes import Decide, Feed, Work


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What the model chose in a unit: its words with their states, and how it ended.

    `is_interrupted`: a turn of its own was open and had to end.
    """

    ids: tuple[int, ...]
    states: tuple[Tensor, ...]
    terminator: int
    is_listen: bool
    is_turn_end: bool
    is_interrupted: bool = False


class Deciding:
    def __init__(self, mind: Mind, rule: DuplexRule) -> None:
        ids = mind.tokens.ids
        self.mind = mind
        self.rule = rule
        self.ids = ids
        self.terminators = (ids.listen, ids.chunk_eos, ids.chunk_tts_eos)
        self.decision_ids = DecisionIds(
            chunk_eos=ids.chunk_eos,
            turn_eos=ids.turn_eos,
            scaled=ids.im_end if rule.is_as_released else ids.listen,
            forbidden=(ids.tts_pad, *mind.tokens.bad_ids),
        )

    def begin(
        self, context: Context, prompt: tuple[str, str], reference: Tensor | None, source: Source
    ) -> Work[Thinking]:
        """Read the system prompt into an empty context.

        Args:
            prompt: the text before and after the reference recording.
            reference: its embeddings, if there is one. [n, D]
        """
        tokens = self.mind.tokens
        groups = [text_group(*tokens.encode(prompt[0]))]
        if reference is not None:
            groups.append(Group("audio", embeds=reference))
        suffix = tokens.encode(prompt[1])
        window = Window(
            self.rule.window,
            sum(map(len, groups)),
            suffix,
            tokens.encode(self.rule.window.marker),
            tokens.special_ids | {self.ids.turn_eos},
        )
        yield Feed(context, (*groups, text_group(*suffix)))
        return Thinking(context, source, window)

    def choose(
        self, thinking: Thinking, groups: tuple[Group, ...], *, is_listen_forced: bool
    ) -> Work[Choice]:
        """Read a unit's input, then listen or speak. `close` must follow."""
        thinking.unit_start = len(thinking.context)
        states = yield Feed(thinking.context, groups)
        is_forced = is_listen_forced or thinking.num_units < self.rule.num_forced_listens
        thinking.num_units += 1
        if is_forced:
            return (yield from self._force_listen(thinking))
        choice = yield from self._decide(thinking, states[-1])
        if choice.is_listen and (self.rule.is_as_released or not choice.is_turn_end):
            return Choice((), (), choice.terminator, is_listen=True, is_turn_end=False)
        return choice

    def close(self, thinking: Thinking, choice: Choice) -> Work[None]:
        """End the unit in the context, and forget what is to be forgotten."""
        yield Feed(thinking.context, (text_group(choice.terminator, self.ids.unit_end),))
        rows = len(thinking.context) - thinking.unit_start
        thinking.window.add(UnitRows(thinking.num_units - 1, rows, choice.ids, choice.is_listen))
        thinking.window.slide(self.mind, thinking.context, is_turn_open=thinking.is_turn_open)

    def _force_listen(self, thinking: Thinking) -> Work[Choice]:
        """Interrupted from outside: close the turn."""
        was_open = thinking.is_turn_open
        if was_open:
            yield Feed(thinking.context, (text_group(self.ids.turn_eos),))
            thinking.is_turn_open = False
        return Choice((), (), self.ids.listen, is_listen=True, is_turn_end=False,
                      is_interrupted=was_open)  # fmt: skip

    def _decide(self, thinking: Thinking, state: Tensor) -> Work[Choice]:
        said: list[int] = []
        states: list[Tensor] = []
        end = self.ids.chunk_eos
        is_turn_end = False
        for index in range(self.rule.max_tokens - 1):
            token = yield Decide(
                state, thinking.history, self.rule.decision, self.decision_ids, thinking.source
            )
            if token == self.ids.listen and thinking.is_turn_open:
                token = self.ids.tts_bos  # an open turn is only left through its end
            if token in self.terminators:
                end = token
                break
            if index and self._is_too_long([*said, token]):
                thinking.is_turn_open |= self.rule.is_as_released  # even after the turn's end
                break
            fed = yield Feed(thinking.context, (text_group(token),))
            state = fed[-1]
            is_turn_end = token == self.ids.turn_eos
            thinking.is_turn_open = not is_turn_end
            if index:  # the first token says that it speaks, and is not spoken
                said.append(token)
                states.append(state)
        return Choice(tuple(said), tuple(states), end, end == self.ids.listen, is_turn_end)

    def _is_too_long(self, ids: Sequence[int]) -> bool:
        limit = self.rule.max_chars
        return limit is not None and len(self.mind.tokens.decode(ids)) >= limit

    def stacked(self, choice: Choice) -> Tensor:
        """The states of its words. [n, D]"""
        return torch.stack(choice.states) if choice.states else self.mind.llm.embed(())
