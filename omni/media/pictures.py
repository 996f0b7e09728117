"""Stills from outside: what is safe to decode, and how much of it is decoded.

Law: no decoder sees a picture before its own header has been read here and its bytes, pixels and
passes were found to be within limits; only plain JPEG, PNG and WebP, one picture a file and
nothing after it. Whatever else comes is a MediaError that names the field.
"""

import re
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from omni.errors import MediaError
from omni.types import Pixels, frozen_array

Format = Literal["jpeg", "png", "webp"]

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT: Final = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # the rest is not for eyes
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9
_JPEG_AFTER_SCAN: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_MAX_SCANS: Final = 24  # each pass over the picture costs as much as the first
_MAX_SEGMENTS: Final = 4096


@dataclass(frozen=True, slots=True, eq=False)
class PictureLimits:
    """More `max_bytes` or `max_pixels` are refused; more than `scaled_pixels` are scaled down."""

    max_bytes: int = 8 << 20
    max_pixels: int = 24_000_000
    scaled_pixels: int = 1_800_000


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An encoded picture that was found to be harmless, with nothing around it."""

    format: Format
    width: int
    height: int
    encoded: bytes


def inspect(
    encoded: bytes, limits: PictureLimits = PictureLimits(), field: str = "image"
) -> Picture:
    """Read a picture's header and structure; decodes nothing.

    Raises:
        MediaError: naming `field`: of another format, damaged, cut off, animated, with something
            after its end, or beyond the limits.
    """
    if len(encoded) > limits.max_bytes:
        raise MediaError(
            f"{field}: {len(encoded)} bytes, and {limits.max_bytes} are the limit",
            "picture_too_large",
            field,
        )
    try:
        picture = _inspect(encoded)
    except (ValueError, IndexError, struct.error) as error:
        raise MediaError(f"{field}: {error}", param=field) from error
    num_pixels = picture.width * picture.height
    if not 0 < num_pixels <= limits.max_pixels:
        raise MediaError(
            f"{field}: {picture.width} × {picture.height} pixels, and {limits.max_pixels} in all "
            "are the limit",
            "picture_too_large",
            field,
        )
    return picture


def decode(encoded: bytes, limits: PictureLimits = PictureLimits(), field: str = "image") -> Pixels:
    """The picture as it is to be seen: RGB [H, W, 3], upright, of at most `scaled_pixels`.

    Raises:
        MediaError: as `inspect`, or its data are damaged.
    """
    picture = inspect(encoded, limits, field)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return frozen_array(_decode(picture, limits.scaled_pixels))
    except Exception as error:  # decoders fail in many ways, none of them the server's fault
        raise MediaError(f"{field}: the picture's data are damaged", param=field) from error


def _decode(picture: Picture, scaled_pixels: int) -> NDArray[np.uint8]:
    with Image.open(BytesIO(picture.encoded), formats=[picture.format.upper()]) as opened:
        # JPEG alone: decodes at a half, a quarter or an eighth
        opened.draft("RGB", _scaled((picture.width, picture.height), scaled_pixels))
        image: Image.Image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):  # 16-bit greys
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        image = image.convert("RGB")
        size = _scaled(image.size, scaled_pixels)
        if size != image.size:
            image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        return np.asarray(image)


def _scaled(size: tuple[int, int], num_pixels: int) -> tuple[int, int]:
    """A size of the same shape with at most `num_pixels`."""
    width, height = size
    if width * height <= num_pixels:
        return size
    ratio = (num_pixels / (width * height)) ** 0.5
    narrow = max(1, int(min(size) * ratio))
    wide = min(int(max(size) * ratio), num_pixels // narrow)
    return (wide, narrow) if width > height else (narrow, wide)


def _inspect(data: bytes) -> Picture:
    if data.startswith(_PNG):
        return _inspect_png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _inspect_jpeg(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _inspect_webp(data)
    raise ValueError("not a JPEG, PNG or WebP picture")


def _inspect_png(data: bytes) -> Picture:
    kept = [_PNG]
    size = None
    for name, start, end in _png_chunks(data):
        if name == b"IHDR" and size is None:
            size = struct.unpack(">II", data[start + 8 : start + 16])
        elif name in (b"acTL", b"fcTL", b"fdAT"):
            raise ValueError("animated pictures are not taken")
        if name in _PNG_KEPT:
            kept.append(data[start:end])
        if name == b"IEND" and end != len(data):
            raise ValueError("there is something after the picture's end")
    if size is None:
        raise ValueError("a PNG without its header")
    return Picture("png", size[0], size[1], b"".join(kept))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk up to IEND."""
    start = len(_PNG)
    for _ in range(_MAX_SEGMENTS):
        (length,) = struct.unpack_from(">I", data, start)
        name, end = data[start + 4 : start + 8], start + 12 + length
        if end > len(data):
            raise ValueError("the picture is cut off")
        yield name, start, end
        if name == b"IEND":
            return
        start = end
    raise ValueError("a picture in too many pieces")


def _inspect_jpeg(data: bytes) -> Picture:
    size: tuple[int, int] | None = None
    position, num_scans = 2, 0
    for _ in range(_MAX_SEGMENTS):
        if data[position] != 0xFF:
            raise ValueError("a damaged JPEG")
        marker = data[position + 1]
        if marker == _JPEG_END:
            if size is None or not num_scans:
                raise ValueError("a JPEG without a picture")
            if data[position + 2 :].strip(b"\0"):
                raise ValueError("there is something after the picture's end")
            return Picture("jpeg", *size, data[: position + 2])
        if marker == 0xFF:  # a filler
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker in _JPEG_FRAMES:
            if size is not None:
                raise ValueError("a JPEG with several pictures")
            height, width = struct.unpack_from(">HH", data, position + 5)
            size = width, height
        position += 2 + length
        if marker == _JPEG_SCAN:
            num_scans += 1
            found = _JPEG_AFTER_SCAN.search(data, position)
            if found is None:
                raise ValueError("the picture is cut off")
            position = found.start()
        if num_scans > _MAX_SCANS:
            raise ValueError("a JPEG in too many passes")
    raise ValueError("a picture in too many pieces")


def _inspect_webp(data: bytes) -> Picture:
    (length,) = struct.unpack_from("<I", data, 4)
    if length + 8 > len(data):
        raise ValueError("the picture is cut off")
    if length + 8 < len(data):
        raise ValueError("there is something after the picture's end")
    kind = data[12:16]
    if kind == b"VP8X":
        if data[20] & 0x02:
            raise ValueError("animated pictures are not taken")
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (n & 0x3FFF for n in struct.unpack_from("<HH", data, 26))
    else:
        raise ValueError("a damaged WebP")
    return Picture("webp", width, height, data)
