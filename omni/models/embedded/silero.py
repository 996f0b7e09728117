"""Silero's voice activity detector: how likely each 32 ms of sound is speech.

Hides the network's context and recurrent state behind one value per stream. Law: the same windows
in the same order give the same probabilities, whatever other streams do in between.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omni.models.onnx_session import open_session

RATE_HZ = 16000
WINDOW_SAMPLES = 512
_CONTEXT_SAMPLES = 64


@dataclass(frozen=True, slots=True, eq=False)
class VadState:
    """What the detector remembers of one stream."""

    context: NDArray[np.float32]  # [64], the last samples heard
    hidden: NDArray[np.float32]  # [2, 1, 128]

    @staticmethod
    def fresh() -> "VadState":
        """A stream that has heard nothing."""
        return VadState(np.zeros(_CONTEXT_SAMPLES, np.float32), np.zeros((2, 1, 128), np.float32))


class Silero:
    """The network; holds no stream, so one serves them all. 0.13 ms a window on one core, which
    is why streams are not batched.
    """

    def __init__(self, path: Path) -> None:
        self._session = open_session(path, num_threads=1)
        self._rate = np.array(RATE_HZ, np.int64)

    def warm_up(self) -> None:
        self.step(VadState.fresh(), np.zeros(WINDOW_SAMPLES, np.float32))

    def step(self, state: VadState, window: NDArray[np.float32]) -> tuple[float, VadState]:
        """Speech probability of the next window, float32 [512] at 16 kHz, and the state after."""
        heard = np.concatenate([state.context, window])[None]  # [1, 576]
        inputs = {"input": heard, "state": state.hidden, "sr": self._rate}
        probability, hidden = self._session.run(None, inputs)
        return float(probability[0, 0]), VadState(window[-_CONTEXT_SAMPLES:], hidden)
