"""The mouth of a model whose speech is not supported: its words are told, and nothing is heard."""

from collections.abc import Sequence

import numpy as np

from omni.types import Chunk, Speech, StageName, frozen_array
from omni.units import AnswerWords


class SilentStage:
    name: StageName = "speak"

    def load(self) -> None:
        """Nothing to load."""

    def open(self, session_id: str) -> None:
        """Nothing to prepare."""

    def close(self, session_id: str) -> None:
        """Nothing to forget."""

    def has_work(self) -> bool:
        return False

    def step(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        return [_unheard(chunk) for chunk in chunks if isinstance(chunk, AnswerWords)]


def _unheard(words: AnswerWords) -> Speech:
    stamp = (words.session_id, words.epoch, words.unit_index, words.response_id)
    nothing = frozen_array(np.zeros(0, np.float32))
    return Speech(*stamp, 0, nothing, words.text, (), words.finish is not None)
