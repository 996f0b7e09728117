"""The speech language model: LLM tokens with their hidden states in, 25 speech codes a second out.

Two regimes share it. Duplex: one chunk of at most 25 codes a unit. Turn-based: a condition of ten
tokens says as many codes as it likes, given out in chunks of 25. Both keep their context over the
turn; the code that ends speech never leaves this module.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaModel

from omni.models.minicpmo import sampling
from omni.models.minicpmo.config import SpeechConfig
from omni.models.minicpmo.decoder import feed
from omni.models.minicpmo.hearing import Projector
from omni.models.minicpmo.kv import KeyValues
from omni.models.minicpmo.sampling import Source, SpeechRule

CODES_A_CHUNK = 25


class SpeechModel(nn.Module):
    """Modules with the checkpoint's names (`tts.`); weight norm is folded when it is loaded."""

    def __init__(self, config: SpeechConfig, llm_size: int) -> None:
        super().__init__()
        size = config.backbone.hidden_size
        self.config = config
        self.emb_text = nn.Embedding(config.num_text_tokens, size)
        self.emb_code = nn.ModuleList([nn.Embedding(config.num_codes, size)])
        self.head_code = nn.ModuleList([nn.Linear(size, config.num_codes, bias=False)])
        self.model = LlamaModel(config.backbone)
        self.model.embed_tokens = None  # never read: conditions and codes have their own tables
        self.projector_spk = Projector(llm_size, size)
        self.projector_semantic = Projector(llm_size, size)

    @torch.inference_mode()
    def condition(self, ids: Sequence[int], hidden: Tensor, marks: Sequence[int]) -> Tensor:
        """What makes the model speak.

        Args:
            ids: LLM tokens to say. n of them
            hidden: LLM state at each token's own position, after it was fed. [n, D]
            marks: ids put after them, without hidden states.

        Returns:
            [n + marks, size]
        """
        table = self.emb_text.weight
        text = self.emb_text(torch.tensor([*ids, *marks], dtype=torch.long, device=table.device))
        spoken = F.normalize(self.projector_semantic(hidden.to(table)), dim=-1)
        return text + F.pad(spoken, (0, 0, 0, len(marks)))

    @torch.inference_mode()
    def codes(self, ids: Sequence[int]) -> Tensor:
        """Embeddings of codes already said. [n, size]"""
        table = self.emb_code[0]
        rows: Tensor = table(torch.tensor(ids, device=table.weight.device))  # type: ignore[operator]
        return rows

    @torch.inference_mode()
    def step(self, pasts: Sequence[KeyValues], rows: Sequence[Tensor]) -> Tensor:
        """Feed each sequence its rows; float32 logits of the next code. [B, codes]"""
        last = torch.stack([hidden[-1] for hidden in feed(self.model, pasts, rows)])
        logits: Tensor = self.head_code[0](last)
        return logits.float()

    def chunk(
        self,
        pasts: Sequence[KeyValues],
        conditions: Sequence[Tensor],
        minimums: Sequence[int],
        rule: SpeechRule,
        sources: Sequence[Source],
    ) -> list[list[int]]:
        """Say one duplex unit of each session, all in step.

        A session stops at the end of its speech, not before its minimum, or at 25 codes. The last
        code is fed as well: the released code draws a 26th and throws it away.
        """
        said: list[list[int]] = [[] for _ in pasts]
        rows = list(conditions)
        active = list(range(len(pasts)))
        while active:
            logits = self.step([pasts[i] for i in active], [rows[i] for i in active])
            scores = sampling.speech_penalised(
                logits / rule.temperature, [said[i] for i in active], rule
            )
            early = [row for row, i in enumerate(active) if len(said[i]) < minimums[i]]
            scores[early, self.config.eos_code] = -torch.inf
            going = [row for row, i in enumerate(active) if len(said[i]) < CODES_A_CHUNK]
            if not going:
                break
            active = [active[row] for row in going]
            drawn = sampling.draw(scores[going], [sources[i] for i in active])
            for i, code in zip(active, drawn, strict=True):
                if code != self.config.eos_code:
                    said[i].append(code)
                    rows[i] = self.codes([code])
            ended = {
                i for i, code in zip(active, drawn, strict=True) if code == self.config.eos_code
            }
            active = [i for i in active if i not in ended]
        return said


@dataclass(slots=True, eq=False)
class SpokenTurn:
    """Speech of one turn-based answer so far."""

    past: KeyValues = field(default_factory=KeyValues)
    said: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)  # not given out yet


@dataclass(frozen=True, slots=True, eq=False)
class SpeechChunk:
    codes: list[int]
    is_last: bool


@dataclass(frozen=True, slots=True, eq=False)
class TurnSpeaker:
    """Turn-based speech: the whole turn's codes count as said, and the choice is narrowed."""

    model: SpeechModel
    rule: SpeechRule = SpeechRule()
    max_steps: int = 500  # a condition

    def say(self, turn: SpokenTurn, condition: Tensor, source: Source) -> list[SpeechChunk]:
        """Say one condition; its end code ends the condition, not the answer."""
        chunks = []
        for code in self.codes(turn, condition, source, min_steps=0):
            turn.waiting.append(code)
            if len(turn.waiting) == CODES_A_CHUNK:
                chunks.append(SpeechChunk(turn.waiting, False))
                turn.waiting = []
        return chunks

    def finish(self, turn: SpokenTurn) -> SpeechChunk:
        """What is left when the text is finished, perhaps nothing."""
        rest, turn.waiting = turn.waiting, []
        return SpeechChunk(rest, True)

    def codes(
        self, turn: SpokenTurn, condition: Tensor, source: Source, min_steps: int
    ) -> Iterator[int]:
        """Codes of one condition, as they are drawn."""
        eos = self.model.config.eos_code
        rows = condition
        for step in range(self.max_steps):
            scores = self.model.step([turn.past], [rows]) / self.rule.temperature
            if turn.said:
                scores = sampling.speech_penalised(scores, [turn.said], self.rule)
                scores = sampling.speech_narrowed(scores, self.rule)
            if step < min_steps:
                scores[:, eos] = -torch.inf
            [code] = sampling.draw(scores, [source])
            if code == eos:
                return
            turn.said.append(code)
            yield code
            rows = self.model.codes([code])
        # The released code counts the last code's position without ever feeding it.
        turn.past.skipped += 1
