from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from omni import config
from omni.config import OmniConfig
from omni.media.audio import resample

MEDIA = Path(__file__).parent.parent / "media"


@pytest.fixture(scope="session")
def embedded() -> OmniConfig:
    return config.load("embedded")


@pytest.fixture(scope="session")
def recording() -> Callable[[str], NDArray[np.float32]]:
    """A file of tests/media as float32 [n], mono, 16 kHz."""

    def read(name: str) -> NDArray[np.float32]:
        samples, rate_hz = soundfile.read(MEDIA / name, dtype="float32", always_2d=True)
        return resample(samples.mean(axis=1), rate_hz, 16000)

    return read
