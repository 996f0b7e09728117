"""How loud a voice is: the level of its loud parts, so that pauses do not count."""

import numpy as np

from omni.types import Samples

FRAME_S = 0.02
LOUD_PERCENTILE = 80
FLOOR_DB = -100.0


def level_db(samples: Samples, rate_hz: int = 16000) -> float:
    """Level of float32 [n] in dB of full scale; at least -100."""
    size = int(FRAME_S * rate_hz)
    num_frames = len(samples) // size
    if not num_frames:
        return FLOOR_DB
    power = np.mean(samples[: num_frames * size].reshape(num_frames, size) ** 2, axis=1)
    # Not numpy's percentile: its first call imports for 0.1 s, in the middle of a conversation.
    loud = float(np.sort(power)[(num_frames - 1) * LOUD_PERCENTILE // 100])
    return max(FLOOR_DB, 10 * float(np.log10(loud))) if loud > 0 else FLOOR_DB
