"""Every message survives the wire; nothing else gets through it."""

import asyncio
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors.wire import MAX_FRAME_BYTES, MESSAGES, Credit, FrameError, Hello, Message, encode, read
from omni import types, units
from omni.types import AudioChunk, Chunk, Fence, PictureChunk


def values(annotation: Any) -> st.SearchStrategy[Any]:
    """Any value that fits an annotation of omni.types."""
    arguments = get_args(annotation)
    match get_origin(annotation) or annotation:
        case type() as kind if kind in SCALARS:
            return SCALARS[kind]
        case type() as kind if is_dataclass(kind):
            hints = get_type_hints(kind)
            return st.builds(kind, **{f.name: values(hints[f.name]) for f in fields(kind)})
        case np.ndarray:
            return arrays(np.dtype(get_args(arguments[1])[0]))
        case kind if kind is Literal:
            return st.sampled_from(arguments)
        case kind if kind in (Union, UnionType):
            return st.one_of(*map(values, arguments))
        case kind if kind is tuple and arguments[-1] is not Ellipsis:
            return st.tuples(*map(values, arguments))
        case kind if kind is tuple:
            return st.lists(values(arguments[0]), max_size=3).map(tuple)
    raise AssertionError(f"no strategy for {annotation}")


SCALARS: dict[type, st.SearchStrategy[Any]] = {
    str: st.text(),
    int: st.integers(-(2**63), 2**64 - 1),
    float: st.floats(),
    bool: st.booleans(),
    bytes: st.binary(),
    NoneType: st.none(),
}


def arrays(dtype: np.dtype[Any]) -> st.SearchStrategy[Any]:
    def shaped(shape: tuple[int, ...]) -> st.SearchStrategy[Any]:
        size = int(np.prod(shape)) * dtype.itemsize
        raw = st.binary(min_size=size, max_size=size)
        return raw.map(lambda b: np.frombuffer(b, dtype).reshape(shape))

    return st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple).flatmap(shaped)


messages = st.one_of(*map(values, MESSAGES))


def parts(value: Any) -> Any:
    """What makes two values equal, bit for bit."""
    if isinstance(value, np.ndarray):
        return (value.dtype, value.shape, value.tobytes())
    if isinstance(value, float):
        return np.float64(value).tobytes()
    if isinstance(value, tuple):
        return tuple(map(parts, value))
    if is_dataclass(value):
        return (type(value), [parts(getattr(value, f.name)) for f in fields(value)])
    return (type(value), value)


def read_all(sent: bytes, max_bytes: int = MAX_FRAME_BYTES) -> list[Message]:
    async def run() -> list[Message]:
        reader = asyncio.StreamReader()
        reader.feed_data(sent)
        reader.feed_eof()
        received = []
        while not reader.at_eof():
            received.append((await read(reader, max_bytes))[0])
        return received

    return asyncio.run(run())


def test_every_chunk_can_travel() -> None:
    named = [*vars(types).values(), *vars(units).values()]
    kinds = {v for v in named if isinstance(v, type) and issubclass(v, Chunk)}
    assert kinds - {Chunk} == set(MESSAGES) - {Hello, Credit}


@given(st.lists(messages, max_size=3))
def test_messages_arrive_as_they_were_sent(sent: list[Message]) -> None:
    received = read_all(b"".join(map(encode, sent)))
    assert parts(tuple(received)) == parts(tuple(sent))


@given(st.sampled_from([320, 0]))
def test_arrays_arrive_read_only_and_aligned(num_samples: int) -> None:
    (chunk,) = read_all(encode(AudioChunk("s", 0, 0, 0, np.zeros(num_samples, np.float32))))
    assert isinstance(chunk, AudioChunk)
    assert not chunk.samples.flags.writeable
    assert chunk.samples.flags.aligned


@given(st.binary(max_size=200))
@example(b"\x02\x00\x00\x00\x00\x02\x00\x00\x00\x91\x91")
def test_junk_is_refused_or_is_a_message(junk: bytes) -> None:
    try:
        read_all(junk)
    except (FrameError, EOFError):
        return


@given(messages, st.data())
def test_a_damaged_frame_is_refused_or_is_a_message(message: Message, data: st.DataObject) -> None:
    frame = bytearray(encode(message))
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_all(bytes(frame))
    except (FrameError, EOFError):
        return


@given(messages, st.data())
def test_a_cut_frame_is_refused(message: Message, data: st.DataObject) -> None:
    frame = encode(message)
    with pytest.raises(FrameError):
        read_all(frame[: data.draw(st.integers(1, len(frame) - 1))])


def test_an_oversized_frame_is_refused_before_it_is_read() -> None:
    async def run() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(encode(Fence("s", 0, 0))[:1] + b"\xff" * 8)  # and the rest never comes
        await read(reader)

    with pytest.raises(FrameError, match="too large"):
        asyncio.run(run())


@pytest.mark.parametrize(
    "chunk",
    [
        AudioChunk("s", 0, 0, 0, np.zeros(8, np.float64)),  # type: ignore[arg-type]
        AudioChunk("s\ud800", 0, 0, 0, np.zeros(8, np.float32)),
        AudioChunk("s", 2**70, 0, 0, np.zeros(8, np.float32)),
        PictureChunk("s", 0, 0, "p", object(), 0),  # type: ignore[arg-type]
        PictureChunk("s", 0, 0, "p", bytes(MAX_FRAME_BYTES), 0),
    ],
)
def test_what_cannot_travel_fails_at_the_sender(chunk: Chunk) -> None:
    with pytest.raises(FrameError):
        encode(chunk)
