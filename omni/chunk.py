"""What every chunk is: a session's, of an epoch, of a unit; and the arrays that chunks carry."""

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]  # [n], mono, -1..1
Embeddings = npt.NDArray[np.float32]  # [n, D]
Pixels = npt.NDArray[np.uint8]  # [H, W, 3], RGB
StageName = Literal["vad", "hear", "see", "think", "speak"]

Array = TypeVar("Array", bound="npt.NDArray[Any]")


def frozen_array(array: Array) -> Array:
    """The same array, read-only."""
    array.setflags(write=False)
    return array


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """A run of one modality, or a command about one, on its way to a stage."""

    session_id: str
    epoch: int
    unit_index: int
