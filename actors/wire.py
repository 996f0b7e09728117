"""How a chunk becomes bytes: one frame, a typed header, arrays beside it as they lie in memory.

Generic over every dataclass of omni.types, and never pickle. Nothing that arrives can make the
reader hold more than the limit, or raise anything but FrameError and EOFError.
"""

import asyncio
import math
import struct
import zlib
from dataclasses import dataclass, fields
from typing import Any, Final, get_args

import msgspec
import numpy as np
import numpy.typing as npt

from omni.errors import StageError
from omni.types import DESTINATIONS, Chunk


class FrameError(StageError):
    """Bytes that are no frame, or a message that cannot become one."""

    default_code = "bad_frame"


@dataclass(frozen=True, slots=True, eq=False)
class Hello:
    """Who speaks, which layout of the chunks they know, and proof that they belong."""

    sender: str
    schema: int
    token: str


@dataclass(frozen=True, slots=True, eq=False)
class Credit:
    """Leave to send so much more."""

    num_frames: int
    size_bytes: int


Message = Hello | Credit | Chunk

MESSAGES: Final[tuple[type[Message], ...]] = (Hello, Credit, *DESTINATIONS)
SCHEMA: Final = zlib.crc32(
    repr([(m.__name__, [(f.name, str(f.type)) for f in fields(m)]) for m in MESSAGES]).encode()
)
"""Peers whose chunks differ in any field refuse each other at the hello."""

MAX_FRAME_BYTES: Final = 32 << 20
_TAGS: Final = {message: tag for tag, message in enumerate(MESSAGES)}
_PREFIX: Final = struct.Struct("<BII")  # tag, bytes of the arrays, bytes of the header after them
_ALIGNMENT: Final = 16
_DTYPES: Final = {np.dtype(kind).str: np.dtype(kind) for kind in (np.float32, np.uint8)}
_ARRAY: Final = 1  # msgpack extension: dtype, shape, offset among the arrays


def encode(message: Message) -> bytes:
    """One whole frame.

    Raises:
        FrameError: the message holds something that has no form on the wire, or is too large.
    """
    arrays: list[bytes | memoryview] = []
    num_array_bytes = 0

    def set_aside(value: object) -> msgspec.msgpack.Ext:
        nonlocal num_array_bytes
        if not isinstance(value, np.ndarray) or value.dtype.str not in _DTYPES:
            raise TypeError(f"{getattr(value, 'dtype', type(value).__name__)} does not travel")
        place = msgspec.msgpack.encode((value.dtype.str, value.shape, num_array_bytes))
        flat = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        padding = bytes(-flat.size % _ALIGNMENT)
        arrays.extend((flat.data, padding))
        num_array_bytes += flat.size + len(padding)
        return msgspec.msgpack.Ext(_ARRAY, place)

    try:
        header = msgspec.msgpack.encode(message, enc_hook=set_aside)
    except (TypeError, ValueError, OverflowError) as error:
        raise FrameError(f"{type(message).__name__} cannot be sent: {error}") from error
    if num_array_bytes + len(header) > MAX_FRAME_BYTES:
        raise FrameError(f"{type(message).__name__} is too large", code="frame_too_large")
    prefix = _PREFIX.pack(_TAGS[type(message)], num_array_bytes, len(header))
    return b"".join((prefix, *arrays, header))


async def read(
    reader: asyncio.StreamReader, max_bytes: int = MAX_FRAME_BYTES
) -> tuple[Message, int]:
    """The next message and the size of its frame in bytes.

    Raises:
        EOFError: the peer is gone, between frames.
        FrameError: cut off within a frame, larger than `max_bytes`, or no frame at all.
    """
    try:
        prefix = await reader.readexactly(_PREFIX.size)
        tag, num_array_bytes, num_header_bytes = _PREFIX.unpack(prefix)
        size_bytes = num_array_bytes + num_header_bytes
        if size_bytes > max_bytes:
            raise FrameError("the peer sent a frame that is too large", code="frame_too_large")
        body = await reader.readexactly(size_bytes)
    except asyncio.IncompleteReadError as error:
        if error.partial or error.expected != _PREFIX.size:
            raise FrameError("the peer was cut off within a frame") from error
        raise
    return decode(tag, body, num_array_bytes), _PREFIX.size + size_bytes


def decode(tag: int, body: bytes, num_array_bytes: int) -> Message:
    """The message in a frame's body; its arrays are read-only views of `body`.

    Raises:
        FrameError: it is none.
    """
    arrays = memoryview(body)[:num_array_bytes]

    def view(code: int, place: memoryview) -> npt.NDArray[Any]:
        dtype, shape, offset = msgspec.msgpack.decode(place, type=tuple[str, tuple[int, ...], int])
        if code != _ARRAY or offset < 0 or any(length < 0 for length in shape):
            raise ValueError("no such array")
        return np.frombuffer(arrays, _DTYPES[dtype], math.prod(shape), offset).reshape(shape)

    try:
        decoded: Message = msgspec.msgpack.decode(
            memoryview(body)[num_array_bytes:],
            type=MESSAGES[tag],
            ext_hook=view,
            dec_hook=_check_array,
        )
    except (LookupError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise FrameError(f"the peer sent what is no message: {error}") from error
    return decoded


def _check_array(annotation: Any, value: object) -> object:
    """`annotation` is npt.NDArray[scalar]: ndarray[shape, dtype[scalar]]."""
    scalar = get_args(get_args(annotation)[1])[0]
    if not isinstance(value, np.ndarray) or value.dtype != scalar:
        raise ValueError(f"not an array of {scalar.__name__}")
    return value
