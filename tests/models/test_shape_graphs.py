"""Recorded shapes give what the work gives without them; the steps of the flow can be recorded."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from omni.models.minicpmo.flow_matching import DiT, DiTDims, Target, integrate
from omni.models.shape_graphs import MAX_RECORDED, ShapeGraphs

DIMS = DiTDims(num_mels=6, size=16, depth=2, heads=2, head_size=8, ffn=32, guidance=0.7)
STEPS = 3
Work = Callable[[], tuple[Tensor, ...]]


class Recorder:
    """In a graph's place: like one, what it has recorded always gives out the same tensors."""

    def __init__(self) -> None:
        self.num_recorded = 0

    def __call__(self, work: Work) -> Work:
        self.num_recorded += 1
        outputs = work()

        def replay() -> tuple[Tensor, ...]:
            for output, new in zip(outputs, work(), strict=True):
                output.copy_(new)
            return outputs

        return replay


def doubled(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return 2 * x, x + y


def test_a_shape_is_recorded_once_it_has_come_often_enough() -> None:
    record = Recorder()
    graphs = ShapeGraphs(doubled, record, after=2)
    counts = []
    for value in range(5):
        x = torch.full((3,), float(value))
        assert [out.tolist() for out in graphs(x, x)] == [[2.0 * value] * 3] * 2
        counts.append(record.num_recorded)
    assert counts == [0, 0, 1, 1, 1]


def test_what_was_given_out_is_not_overwritten() -> None:
    graphs = ShapeGraphs(doubled, Recorder(), after=0)
    first, _ = graphs(torch.ones(2), torch.ones(2))
    graphs(torch.zeros(2), torch.zeros(2))
    assert first.tolist() == [2, 2]


def test_only_so_many_are_kept_and_the_longest_unused_goes() -> None:
    record = Recorder()
    graphs = ShapeGraphs(doubled, record, after=0)
    for size in (1, *range(2, MAX_RECORDED + 1), 1, MAX_RECORDED + 1, 1, 2):
        graphs(torch.ones(size), torch.ones(size))
    assert record.num_recorded == MAX_RECORDED + 2  # the one too many, and the one that went for it


def test_where_recording_fails_the_work_is_done_without(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(work: Work) -> Work:
        raise RuntimeError("no")

    graphs = ShapeGraphs(doubled, refuse, after=0)
    for _ in range(3):
        assert graphs(torch.ones(2), torch.ones(2))[0].tolist() == [2, 2]
    assert len(caplog.records) == 1


@pytest.fixture(scope="module")
def dit() -> DiT:
    torch.manual_seed(3)
    return DiT(DIMS).eval()


@torch.inference_mode()
def mels(dit: DiT, num_windows: int) -> list[Tensor]:
    """A stream whose cache holds ten frames at most."""
    cache, found = dit.empty_cache(STEPS, 1), []
    numbers = torch.Generator().manual_seed(1)
    for _ in range(num_windows):
        noise, features = (torch.randn(1, 4, 6, generator=numbers) for _ in range(2))
        target = Target(features, torch.ones(1, 6), torch.zeros(1, 4, 6))
        mel, grown = integrate(dit, noise, target, cache)
        cache = type(grown)(grown.attention[..., :10, :], grown.convolution)
        found.append(mel)
    return found


def test_the_flow_is_the_same_recorded(dit: DiT, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = mels(dit, 7)
    record = Recorder()
    monkeypatch.setattr(dit, "graphs", ShapeGraphs(dit.forward, record, after=STEPS))
    for plain, recorded in zip(expected, mels(dit, 7), strict=True):
        torch.testing.assert_close(recorded, plain)
    assert record.num_recorded == 1  # of the full cache alone


def test_nothing_in_a_step_depends_on_values_that_only_the_device_knows(
    dit: DiT, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it could not be recorded: a fake tensor refuses to tell its value."""
    shapes: list[Any] = []

    def record(work: Work) -> Work:
        with FakeTensorMode(allow_non_fake_inputs=True):
            shapes.append(work()[0].shape)
        return work

    monkeypatch.setattr(dit, "graphs", ShapeGraphs(dit.forward, record, after=STEPS))
    mels(dit, 5)
    assert shapes == [(2, 4, 6)]


@pytest.mark.gpu
def test_recorded_on_a_gpu(dit: DiT) -> None:
    from omni.models.decode_graphs import cuda_graph

    dit = DiT(DIMS).cuda().eval()
    graphs = ShapeGraphs(dit.forward, cuda_graph, after=0)
    caches = dit.empty_cache(STEPS, 1)
    for seed in range(3):
        torch.manual_seed(seed)
        given = torch.randn(2, 4, 24).cuda(), torch.full((2,), 0.3).cuda()
        states = caches.attention[0], caches.convolution[0]
        for expected, found in zip(dit(*given, *states), graphs(*given, *states), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
