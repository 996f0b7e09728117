"""Recorded decode steps compute what the engine computes without them, and can be recorded."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from transformers import Qwen3Config, Qwen3Model

from omni.models.decode_graphs import DecodeGraphs
from omni.models.engine import Engine, Segment

NUM_SLOTS, SLOT_TOKENS = 5, 600
SIZE = {
    "vocab_size": 97, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def decoder() -> Any:
    torch.manual_seed(7)
    decoder = Qwen3Model(Qwen3Config(**SIZE, max_position_embeddings=SLOT_TOKENS))
    with torch.no_grad():  # make attention sharp, so that a wrong key shows
        for parameter in decoder.parameters():
            parameter.mul_(3)
    return decoder.eval()


def run_again(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """In a graph's place: like one, it always gives out the same tensor."""
    output = work()

    def replay() -> Tensor:
        output.copy_(work())
        return output

    return replay


def engines(decoder: Any) -> tuple[Engine, Engine]:
    """One without and one with recorded steps, their slots filled alike."""
    pair = Engine(decoder, NUM_SLOTS, SLOT_TOKENS), Engine(decoder, NUM_SLOTS, SLOT_TOKENS)
    pair[1].graphs = DecodeGraphs(decoder, pair[1].pool, run_again)
    for engine in pair:
        for slot, length in enumerate((30, 300, 1, SLOT_TOKENS)):
            assert engine.pool.acquire() == slot
            engine.forward([Segment(slot, ids(length, slot))])
        engine.pool.drop(1, 10, 20)
        engine.pool.skip(2, 3)
    return pair


def ids(length: int, seed: int) -> Tensor:
    return torch.randint(0, 97, (length,), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("slots", [(0,), (1, 0), (2, 1, 0), (2,)])
def test_a_step_is_the_same_whoever_has_a_part_in_it(decoder: Any, slots: tuple[int, ...]) -> None:
    plain, recorded = engines(decoder)
    for step in range(3):
        batch = [Segment(slot, ids(1, 10 * step + slot)) for slot in slots]
        for expected, found in zip(plain.forward(batch), recorded.forward(batch), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    after = ids(7, 99)
    for slot in (0, 1, 2):  # nor have the others been changed, whose ends were written behind
        expected, found = (e.forward([Segment(slot, after)])[0] for e in (plain, recorded))
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_full_slot_keeps_its_last_row(decoder: Any) -> None:
    _, recorded = engines(decoder)
    before = recorded.pool.keys[:, 3, :, :SLOT_TOKENS].clone()
    recorded.forward([Segment(0, ids(1, 1))])
    recorded.pool.acquire()
    recorded.forward([Segment(4, ids(1, 2))])
    assert torch.equal(recorded.pool.keys[:, 3, :, :SLOT_TOKENS], before)


def test_what_a_step_gives_out_is_not_overwritten_by_the_next(decoder: Any) -> None:
    _, recorded = engines(decoder)
    (first,) = recorded.forward([Segment(0, ids(1, 1))])
    kept = first.clone()
    recorded.forward([Segment(0, ids(1, 2))])
    assert torch.equal(first, kept)


def test_nothing_in_a_step_depends_on_values_that_only_the_device_knows(decoder: Any) -> None:
    """Else it could not be recorded: a fake tensor refuses to tell its value."""
    shapes = []

    def record(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        with FakeTensorMode(allow_non_fake_inputs=True):
            shapes.append(tuple(work().shape))
        return work

    DecodeGraphs(decoder, Engine(decoder, NUM_SLOTS, SLOT_TOKENS).pool, record)
    assert shapes == [(s, 48) for s in (1, 2, 4, 5) for _ in (256, 512, 600)]


def test_without_cuda_nothing_is_recorded(decoder: Any) -> None:
    assert Engine(decoder, 1, 16).graphs is None


@pytest.mark.gpu
def test_recorded_on_a_gpu(decoder: Any) -> None:
    decoder = decoder.cuda()
    recorded = Engine(decoder, NUM_SLOTS, SLOT_TOKENS)
    plain = Engine(decoder, NUM_SLOTS, SLOT_TOKENS)
    plain.graphs = None
    assert recorded.graphs is not None
    for engine in (plain, recorded):
        engine.forward([Segment(engine.pool.acquire(), ids(30, 0).cuda())])
    for step in range(3):
        batch = [Segment(0, ids(1, step).cuda())]
        torch.testing.assert_close(
            recorded.forward(batch)[0], plain.forward(batch)[0], atol=1e-4, rtol=1e-4
        )
