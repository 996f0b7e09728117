"""How a next id is chosen: one draw, three rules (decision, turn-based text, speech codes).

Every draw takes its randomness from a `Source`, so that a run repeats. The rules are the released
code's to the letter, including what looks odd in them; sources are named at each.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Source = Callable[[], float | None]  # next uniform number in [0, 1), or None: take the likeliest


def greedy() -> None:
    """A source that always takes the likeliest."""


def seeded(seed: int) -> Source:
    return random.Random(seed).random


def draw(logits: Tensor, sources: Sequence[Source]) -> list[int]:
    """Draw one id from each row's softmax. [B, V] to B ids"""
    numbers = [source() for source in sources]
    likeliest = logits.argmax(-1)
    if all(number is None for number in numbers):
        return [int(i) for i in likeliest]
    cumulative = logits.float().softmax(-1).double().cumsum(-1)
    wanted = torch.tensor([[number or 0.0] for number in numbers], dtype=torch.float64)
    wanted = wanted.to(cumulative.device) * cumulative[:, -1:]
    drawn = torch.searchsorted(cumulative, wanted, right=True)[:, 0]
    drawn = drawn.clamp(max=logits.shape[-1] - 1)
    return [
        int(best if number is None else other)
        for number, best, other in zip(numbers, likeliest, drawn, strict=True)
    ]


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """-inf below the k-th largest; 0 keeps all."""
    if k <= 0 or k >= logits.shape[-1]:
        return logits
    return logits.masked_fill(logits < logits.topk(k).values[..., -1:], -torch.inf)


def keep_top_p(logits: Tensor, p: float, at_least: int = 1) -> Tensor:
    """-inf below the smallest set whose probability crosses `p`; 0 and 1 keep all."""
    if not 0 < p < 1:
        return logits
    ordered, order = logits.sort(descending=True, stable=True)
    before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
    dropped = before > p
    dropped[..., :at_least] = False
    return logits.masked_fill(torch.empty_like(dropped).scatter(-1, order, dropped), -torch.inf)


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """Listen, speak and text tokens of a duplex unit (the demo's defaults)."""

    temperature: float = 0.7
    top_k: int = 20
    top_p: float = 0.8
    repetition_penalty: float = 1.05
    repetition_window: int = 512
    length_penalty: float = 1.1
    listen_scale: float = 1.0
    listen_top_k: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DecisionIds:
    """Ids the decision rule treats apart. The released code scales `<|im_end|>`, not listen."""

    chunk_eos: int
    turn_eos: int
    scaled: int
    forbidden: tuple[int, ...]


def decide(
    logits: Tensor,
    histories: Sequence[list[int]],
    rule: Decision,
    ids: DecisionIds,
    sources: Sequence[Source],
) -> list[int]:
    """Choose each session's next token and note it in its history.

    An end of chunk is drawn first, from the raw distribution, and is not noted: a filtered draw
    alone would lengthen or shorten what is said in a unit (UT:2087-2190 of the demo).
    """
    ends = [token == ids.chunk_eos for token in draw(logits, sources)]
    scores = penalised(logits, histories, rule, ids)
    scaled = scores[:, ids.scaled] * rule.listen_scale
    scores[:, ids.scaled] = scaled
    larger = (scores > scaled[:, None]).sum(-1).tolist()
    jumps = [rule.listen_top_k is not None and count < rule.listen_top_k for count in larger]
    drawn = [i for i in range(len(logits)) if not ends[i] and not jumps[i]]
    chosen = [ids.chunk_eos if end else ids.scaled for end in ends]
    if drawn:
        kept = narrowed(scores[drawn], rule)
        for i, token in zip(drawn, draw(kept, [sources[i] for i in drawn]), strict=True):
            chosen[i] = token
            histories[i].append(token)
    return chosen


def penalised(
    logits: Tensor, histories: Sequence[list[int]], rule: Decision, ids: DecisionIds
) -> Tensor:
    """Forbidden ids gone, repeated ones divided (also when negative), the turn's end held back."""
    scores = logits.clone()
    scores[:, [*ids.forbidden, ids.chunk_eos]] = -torch.inf
    for row, history in enumerate(histories):
        seen = sorted(set(history[-rule.repetition_window :]))
        scores[row, seen] /= rule.repetition_penalty
    ends = scores[:, ids.turn_eos]
    scores[:, ids.turn_eos] = sign_aware(ends, torch.tensor(rule.length_penalty))
    return scores


def narrowed(scores: Tensor, rule: Decision) -> Tensor:
    return keep_top_p(keep_top_k(scores / rule.temperature, rule.top_k), rule.top_p)


def sign_aware(logits: Tensor, penalty: Tensor) -> Tensor:
    """Make less likely whatever the sign: l / p above zero, l * p below."""
    return torch.where(logits > 0, logits / penalty, logits * penalty)


@dataclass(frozen=True, slots=True, eq=False)
class TextRule:
    """Text of a turn-based answer."""

    temperature: float = 0.7
    top_k: int = 100
    top_p: float = 0.8
    repetition_penalty: float = 1.02
    repetition_window: int = 128
    length_penalty: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class TextIds:
    terminators: tuple[int, ...]
    forbidden: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TextSampler:
    """How a turn-based answer chooses its words."""

    rule: TextRule
    ids: TextIds
    source: Source

    def next(self, logits: Tensor, seen: Sequence[int]) -> int:
        """The token after a state whose logits these are [V], given what counts as repeated."""
        scores = self.scores(logits, seen)[None] / self.rule.temperature
        kept = keep_top_p(keep_top_k(scores, self.rule.top_k), self.rule.top_p)
        return draw(kept, [self.source])[0]

    def scores(self, logits: Tensor, seen: Sequence[int]) -> Tensor:
        """Logits without the forbidden, repetitions and terminators held back. [V]"""
        scores = logits.clone()
        scores[list(self.ids.forbidden)] = -torch.inf
        held_back = (
            (seen, self.rule.repetition_penalty),
            (self.ids.terminators, self.rule.length_penalty),
        )
        for ids, penalty in held_back:
            distinct = sorted(set(ids))
            scores[distinct] = sign_aware(scores[distinct], torch.tensor(penalty))
        return scores


@dataclass(frozen=True, slots=True, eq=False)
class SpeechRule:
    """Speech codes. As it stands it is the duplex rule, which does not narrow the choice."""

    temperature: float = 0.8
    repetition_penalty: float = 1.05
    repetition_window: int = 16
    top_k: int = 0
    top_p: float = 1.0
    min_kept: int = 3


TURN_SPEECH = SpeechRule(top_k=25, top_p=0.85)


def speech_penalised(logits: Tensor, codes: Sequence[Sequence[int]], rule: SpeechRule) -> Tensor:
    """Make recent codes less likely, once for each time they occur. [B, codes]"""
    scores = logits.clone()
    for row, said in enumerate(codes):
        counts = Counter(said[-rule.repetition_window :])
        ids = list(counts)
        penalty = rule.repetition_penalty ** scores.new_tensor(list(counts.values()))
        scores[row, ids] = sign_aware(scores[row, ids], penalty)
    return scores


def speech_narrowed(scores: Tensor, rule: SpeechRule) -> Tensor:
    return keep_top_k(keep_top_p(scores, rule.top_p, rule.min_kept), rule.top_k)
