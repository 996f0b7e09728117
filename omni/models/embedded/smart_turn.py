"""Smart Turn v3: whether a pause ends the speaker's turn, judged from how the speech sounds.

Hides the features and the fixed window of 8 s. One call costs the same however short the speech,
so ask once per pause, after a little silence, not for every frame.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omni.models.embedded.mel import RATE_HZ, log_mel
from omni.models.onnx_session import open_session

WINDOW_SAMPLES = 8 * RATE_HZ


class SmartTurn:
    """The network (pipecat-ai/smart-turn-v3.2), for one thread at a time."""

    def __init__(self, path: Path, num_threads: int) -> None:
        self._session = open_session(path, num_threads)

    def warm_up(self) -> None:
        self.probability(np.zeros(RATE_HZ, np.float32))

    def probability(self, samples: NDArray[np.float32]) -> float:
        """How likely the speaker is done, in [0, 1].

        `samples` is the turn so far with the pause that raised the question, float32 [n] at
        16 kHz; only the last 8 s count.
        """
        recent = samples[-WINDOW_SAMPLES:]
        window = np.pad(recent, (WINDOW_SAMPLES - len(recent), 0))
        window = (window - window.mean()) / np.sqrt(window.var() + 1e-7)
        (complete,) = self._session.run(None, {"input_features": log_mel(window)[None]})
        return float(complete[0, 0])
