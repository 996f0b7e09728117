"""The speech language model: LLM tokens with their hidden states in, 25 speech codes a second out.

Hides how sessions share its steps. Duplex says one chunk a unit, turn-based answers say as many
codes as ten words need. Both keep their context over the turn; the code that ends speech never
leaves this module.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
        self.engine = Engine(model.model, num_contexts, context_tokens)

    def open(self) -> Context:
        return Context(self.engine)

    @torch.inference_mode()
    def step(self, contexts: Sequence[Context], rows: Sequence[Tensor]) -> Tensor:
        """Feed each context its rows; float32 logits of the next code. [B, codes]"""
        last = torch.stack([hidden[-1] for hidden in feed(self.engine, contexts, rows)])
        logits: Tensor = self.model.head_code[0](last)
        return logits.float()

    def say(self, orders: Sequence["SpeechOrder"], rule: SpeechRule) -> list[list[int]]:
        """Say several sessions' conditions, all in step; the new codes of each.

        A session stops at the end of its speech, which is no code of it, or at its maximum.
        """
        said: list[list[int]] = [[] for _ in orders]
        rows = [order.condition for order in orders]
        active = list(range(len(orders)))
        while active:
            logits = self.step([orders[i].context for i in active], [rows[i] for i in active])
            # A last code that is fed only fills the cache: what would follow it is not wanted.
            kept = [row for row, i in enumerate(active) if len(said[i]) < orders[i].max_codes]
            if not kept:
                break
            active = [active[row] for row in kept]
            scores = self._scores(logits[kept], [orders[i] for i in active], rule)
            early = [row for row, i in enumerate(active) if len(said[i]) < orders[i].min_codes]
            scores[early, self.eos] = -torch.inf
            going = []
            for i, code in zip(
                active, sampling.draw(scores, [orders[i].source for i in active]), strict=True
            ):
                if code == self.eos:
                    continue
                said[i].append(code)
                orders[i].recent.append(code)
                rows[i] = self.model.codes([code])
                if len(said[i]) < orders[i].max_codes or orders[i].is_last_fed:
                    going.append(i)
                else:
                    # The released code counts the position of a code that it never feeds.
                    self.engine.pool.skip(orders[i].context.slot, 1)
            active = going
        return said

    def _scores(self, logits: Tensor, orders: Sequence["SpeechOrder"], rule: SpeechRule) -> Tensor:
        """What the next codes are drawn from; a first code from all of them. [B, codes]"""
        scores = logits / rule.temperature
        later = [row for row, order in enumerate(orders) if order.recent]
        if later:
            recent = [orders[row].recent for row in later]
            penalised = sampling.speech_penalised(scores[later], recent, rule)
            scores[later] = sampling.speech_narrowed(penalised, rule)
        return scores


@dataclass(frozen=True, slots=True, eq=False)
class SpeechOrder:
    """What one session has to say. `recent` are codes not to repeat; it grows.

    Duplex: `recent` is empty, and the last code is fed, so that the next unit goes on from it.
    Turn-based: `recent` is the whole turn.
    """

    context: Context
    condition: Tensor  # [n, size]
    recent: list[int]
    min_codes: int
    max_codes: int
    source: Source
    is_last_fed: bool = False
