"""The speech language model: LLM tokens with their hidden states in, 25 speech codes a second out.

Two regimes share it. Duplex: one chunk of at most 25 codes a unit. Turn-based: a condition of ten
tokens says as many codes as it likes, given out in chunks of 25. Both keep their context over the
turn; the code that ends speech never leaves this module.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaModel

from omni.models.engine import Engine
from omni.models.minicpmo import sampling
from omni.models.minicpmo.config import SpeechConfig
from omni.models.minicpmo.decoder import Context, feed
from omni.models.minicpmo.hearing import Projector
from omni.models.minicpmo.sampling import Source, SpeechRule


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
        self.model.set_input_embeddings(nn.Identity())  # never read: rows come embedded
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
        all_ids = torch.tensor([*ids, *marks], dtype=torch.long, device=table.device)
        spoken = functional.normalize(self.projector_semantic(hidden.to(table)), dim=-1)
        rows: Tensor = self.emb_text(all_ids)
        return rows + functional.pad(spoken, (0, 0, 0, len(marks)))

    @torch.inference_mode()
    def codes(self, ids: Sequence[int]) -> Tensor:
        """Embeddings of codes already said. [n, size]"""
        device = self.emb_text.weight.device
        rows: Tensor = self.emb_code[0](torch.tensor(ids, device=device))
        return rows


class Talker:
    """The speech LM over a pool of contexts; see `LanguageModel` for its arguments."""

    def __init__(self, model: SpeechModel, num_contexts: int, context_tokens: int) -> None:
        self.model = model
        self.eos = model.config.eos_code
        self.chunk_codes = model.config.chunk_codes
        self.engine = Engine(model.model, num_contexts, context_tokens)

    def open(self) -> Context:
        return Context(self.engine)

    @torch.inference_mode()
    def step(self, contexts: Sequence[Context], rows: Sequence[Tensor]) -> Tensor:
        """Feed each context its rows; float32 logits of the next code. [B, codes]"""
        last = torch.stack([hidden[-1] for hidden in feed(self.engine, contexts, rows)])
        logits: Tensor = self.model.head_code[0](last)
        return logits.float()

    def chunk(self, orders: Sequence["ChunkOrder"], rule: SpeechRule) -> list[list[int]]:
        """Say one duplex unit of each session, all in step.

        A session stops at the end of its speech, not before its minimum, or at 25 codes. The last
        code is fed as well: the released code draws a 26th and throws it away.
        """
        said: list[list[int]] = [[] for _ in orders]
        rows = [order.condition for order in orders]
        active = list(range(len(orders)))
        while active:
            logits = self.step([orders[i].context for i in active], [rows[i] for i in active])
            recent = [said[i] for i in active]
            scores = sampling.speech_penalised(logits / rule.temperature, recent, rule)
            early = [row for row, i in enumerate(active) if len(said[i]) < orders[i].min_codes]
            scores[early, self.eos] = -torch.inf
            codes = sampling.draw(scores, [orders[i].source for i in active])
            going = []
            for i, code in zip(active, codes, strict=True):
                if code != self.eos and len(said[i]) < self.chunk_codes:
                    said[i].append(code)
                    rows[i] = self.model.codes([code])
                    going.append(i)
            active = going
        return said


@dataclass(frozen=True, slots=True, eq=False)
class ChunkOrder:
    """What one session has to say in a duplex unit."""

    context: Context
    condition: Tensor  # [n, size]
    min_codes: int
    source: Source


@dataclass(slots=True, eq=False)
class SpokenTurn:
    """Speech of one turn-based answer so far."""

    context: Context
    said: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)  # not given out yet


@dataclass(frozen=True, slots=True, eq=False)
class SpeechChunk:
    codes: list[int]
    is_last: bool


@dataclass(frozen=True, slots=True, eq=False)
class TurnSpeaker:
    """Turn-based speech: the whole turn's codes count as said, and the choice is narrowed."""

    talker: Talker
    rule: SpeechRule
    max_steps: int = 500  # a condition

    def say(self, turn: SpokenTurn, condition: Tensor, source: Source) -> list[SpeechChunk]:
        """Say one condition [n, size]; its end code ends the condition, not the answer."""
        chunks = []
        for code in self.codes(turn, condition, source, min_steps=0):
            turn.waiting.append(code)
            if len(turn.waiting) == self.talker.chunk_codes:
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
        rows = condition
        for step in range(self.max_steps):
            scores = self.talker.step([turn.context], [rows]) / self.rule.temperature
            if turn.said:
                scores = sampling.speech_penalised(scores, [turn.said], self.rule)
                scores = sampling.speech_narrowed(scores, self.rule)
            if step < min_steps:
                scores[:, self.talker.eos] = -torch.inf
            [code] = sampling.draw(scores, [source])
            if code == self.talker.eos:
                return
            turn.said.append(code)
            yield code
            rows = self.talker.model.codes([code])
        # The released code counts the last code's position without ever feeding it.
        self.talker.engine.pool.skip(turn.context.slot, 1)
