"""The laws of the slot pool, and of the engine on it, on tiny random models."""

from typing import Any

import pytest
import torch
from transformers import (
    DynamicCache,
    LlamaConfig,
    LlamaModel,
    Qwen2Config,
    Qwen2Model,
    Qwen3Config,
    Qwen3Model,
)

from omni.errors import SessionCapacity, StageError
from omni.models.engine import Engine, Segment

SIZE = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
}
MODELS = {
    "qwen2": (Qwen2Model, Qwen2Config(**SIZE)),
    "qwen3": (Qwen3Model, Qwen3Config(**SIZE)),
    "llama": (LlamaModel, LlamaConfig(**SIZE, rope_theta=500.0)),
}
NUM_SLOTS, SLOT_TOKENS = 4, 40


@pytest.fixture(params=MODELS)
def decoder(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(7)
    model, config = MODELS[request.param]
    decoder = model(config)
    with torch.no_grad():  # make attention sharp, so that a wrong key shows
        for parameter in decoder.parameters():
            parameter.mul_(3) if parameter.ndim > 1 else parameter.add_(
                0.1 * torch.randn_like(parameter)
            )
    return decoder.eval()


@pytest.fixture(params=["one call per slot", "one call for all"])
def engine(decoder: Any, request: pytest.FixtureRequest) -> Engine:
    engine = Engine(decoder, NUM_SLOTS, SLOT_TOKENS)
    engine.pool.is_decode_grouped = request.param == "one call for all"
    return engine


def ids(length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 97, (length,), generator=torch.Generator().manual_seed(seed))


def alone(engine: Engine, tokens: torch.Tensor) -> torch.Tensor:
    """Hidden states [n, D] of the tokens in a fresh context, in one pass."""
    slot = engine.pool.acquire()
    try:
        return engine.forward([Segment(slot, tokens)])[0]
    finally:
        engine.pool.release(slot)


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_equals_transformers_own_cache(decoder: Any, engine: Engine) -> None:
    tokens = ids(20)
    ours = alone(engine, tokens)
    decoder.set_attn_implementation("eager")
    cache = DynamicCache(config=decoder.config)
    with torch.inference_mode():
        parts = [
            decoder(input_ids=part[None], past_key_values=cache).last_hidden_state[0]
            for part in tokens.split([11, 8, 1])
        ]
    close(ours, torch.cat(parts))


def test_chunked_equals_whole(engine: Engine) -> None:
    tokens = ids(23)
    slot = engine.pool.acquire()
    parts = [engine.forward([Segment(slot, p)])[0] for p in tokens.split([1, 9, 1, 1, 5, 6])]
    close(torch.cat(parts), alone(engine, tokens))


def test_ragged_batch_equals_single(engine: Engine) -> None:
    texts = [ids(17, 1), ids(5, 2), ids(9, 3)]
    cuts = [(16, 17), (0, 5), (4, 9)]  # one decodes, one begins, one goes on
    slots = [engine.pool.acquire() for _ in texts]
    for slot, text, (start, _) in zip(slots, texts, cuts, strict=True):
        if start:
            engine.forward([Segment(slot, text[:start])])
    batch = [
        Segment(slot, text[start:end])
        for slot, text, (start, end) in zip(slots, texts, cuts, strict=True)
    ]
    for hidden, text, (start, _) in zip(engine.forward(batch), texts, cuts, strict=True):
        close(hidden, alone(engine, text)[start:])


def test_decoding_together_equals_alone(engine: Engine) -> None:
    texts = [ids(12, 1), ids(6, 2), ids(9, 3)]
    slots = [engine.pool.acquire() for _ in texts]
    for slot, text in zip(slots, texts, strict=True):
        engine.forward([Segment(slot, text[:-3])])
    for step in (-3, -2, -1):
        order = (2, 0, 1)  # not the order of the slots
        batch = [Segment(slots[i], texts[i][step].reshape(1)) for i in order]
        for hidden, i in zip(engine.forward(batch), order, strict=True):
            close(hidden[0], alone(engine, texts[i])[step])


def test_embeddings_equal_ids(decoder: Any, engine: Engine) -> None:
    tokens = ids(8)
    with torch.inference_mode():
        embeddings = decoder.get_input_embeddings()(tokens[:5])
    a, b = engine.pool.acquire(), engine.pool.acquire()
    hidden, other = engine.forward([Segment(a, embeddings), Segment(b, tokens)])
    close(hidden, other[:5])
    close(engine.forward([Segment(a, tokens[5:])])[0], other[5:])


def test_truncate_then_continue_equals_fresh(engine: Engine) -> None:
    slot = engine.pool.acquire()
    engine.forward([Segment(slot, ids(30, 1))])
    engine.pool.truncate(slot, 11)
    hidden = engine.forward([Segment(slot, ids(4, 2))])[0]
    close(hidden, alone(engine, torch.cat((ids(30, 1)[:11], ids(4, 2))))[11:])


def test_fork_isolates(engine: Engine) -> None:
    slot = engine.pool.acquire()
    engine.forward([Segment(slot, ids(10, 1))])
    fork = engine.pool.fork(slot)
    engine.forward([Segment(slot, ids(7, 2))])
    engine.pool.truncate(slot, 3)
    hidden = engine.forward([Segment(fork, ids(6, 3)), Segment(slot, ids(5, 4))])
    close(hidden[0], alone(engine, torch.cat((ids(10, 1), ids(6, 3))))[10:])
    close(hidden[1], alone(engine, torch.cat((ids(10, 1)[:3], ids(5, 4))))[3:])


def test_reused_slot_is_clean(engine: Engine) -> None:
    expected = alone(engine, ids(9, 5))
    slots = [engine.pool.acquire() for _ in range(NUM_SLOTS)]
    engine.forward([Segment(slot, ids(SLOT_TOKENS, slot)) for slot in slots])
    engine.pool.release(slots[2])
    again = engine.pool.acquire()
    assert again == slots[2]
    assert engine.pool.length(again) == 0
    close(engine.forward([Segment(again, ids(9, 5))])[0], expected)


def test_drop_before_anything_was_read_equals_fresh(decoder: Any) -> None:
    """In a single layer keys depend on their own token and position alone, so closing a hole must
    give exactly the cache of the shorter text."""
    engine = Engine(type(decoder)(_one_layer(decoder.config)), NUM_SLOTS, SLOT_TOKENS)
    text = ids(25)
    slot = engine.pool.acquire()
    engine.forward([Segment(slot, text)])
    engine.pool.drop(slot, 4, 13)
    engine.pool.drop(slot, 0, 2)
    kept = torch.cat((text[2:4], text[13:]))
    assert engine.pool.length(slot) == len(kept)
    tail = ids(3, 9)
    close(engine.forward([Segment(slot, tail)])[0], alone(engine, torch.cat((kept, tail)))[-3:])


def _one_layer(config: Any) -> Any:
    return type(config)(**{**SIZE, "num_hidden_layers": 1}, rope_parameters=config.rope_parameters)


def test_drop_keeps_what_is_before_the_hole_and_all_values(engine: Engine) -> None:
    slot = engine.pool.acquire()
    engine.forward([Segment(slot, ids(20))])
    keys, values = engine.pool.keys[:, slot].clone(), engine.pool.values[:, slot].clone()
    engine.pool.drop(slot, 5, 9)
    assert torch.equal(engine.pool.keys[:, slot, :, :5], keys[:, :, :5])
    assert torch.equal(engine.pool.values[:, slot, :, 5:16], values[:, :, 9:20])
    assert not torch.allclose(engine.pool.keys[:, slot, :, 5:16], keys[:, :, 9:20])


def test_out_of_slots_is_said(engine: Engine) -> None:
    for _ in range(NUM_SLOTS):
        slot = engine.pool.acquire()
    with pytest.raises(SessionCapacity, match="4 model contexts"):
        engine.pool.acquire()
    with pytest.raises(SessionCapacity):
        engine.pool.fork(slot)


def test_full_context_is_said_and_changes_nothing(engine: Engine) -> None:
    a, b = engine.pool.acquire(), engine.pool.acquire()
    engine.forward([Segment(a, ids(38))])
    with pytest.raises(StageError) as caught:
        engine.forward([Segment(b, ids(2)), Segment(a, ids(3))])
    assert caught.value.code == "context_length_exceeded"
    assert (engine.pool.length(a), engine.pool.length(b)) == (38, 0)


def test_failed_forward_leaves_the_slots_as_they_were(engine: Engine) -> None:
    slot = engine.pool.acquire()
    engine.forward([Segment(slot, ids(6, 1))])
    with pytest.raises(RuntimeError):
        engine.forward([Segment(slot, torch.zeros(4, 11))])  # wrong width
    hidden = engine.forward([Segment(slot, ids(6, 2))])[0]
    close(hidden, alone(engine, torch.cat((ids(6, 1), ids(6, 2))))[6:])


@pytest.mark.parametrize("call", [("truncate", 7), ("truncate", -1), ("drop", 2, 9)])
def test_impossible_cuts_are_refused(engine: Engine, call: tuple[Any, ...]) -> None:
    slot = engine.pool.acquire()
    engine.forward([Segment(slot, ids(6))])
    with pytest.raises(ValueError, match="6 tokens"):
        getattr(engine.pool, call[0])(slot, *call[1:])


def test_one_slot_cannot_be_twice_in_a_batch(engine: Engine) -> None:
    slot = engine.pool.acquire()
    with pytest.raises(ValueError, match="different slots"):
        engine.forward([Segment(slot, ids(2)), Segment(slot, ids(2))])
