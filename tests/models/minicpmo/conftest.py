"""One tiny MiniCPM-o for all tests here: the golden pack's checkpoint."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from omni.models.minicpmo.brain import Brain
from omni.models.minicpmo.parity.bench import Bench
from omni.models.minicpmo.parity.pack import Pack

PACK = Path(__file__).parents[2] / "golden" / "minicpmo45-tiny"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """What two threads add up differs in the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def bench() -> Bench:
    return Bench(Pack(PACK))


@pytest.fixture(scope="session")
def brain(bench: Bench) -> Brain:
    return bench.brain
