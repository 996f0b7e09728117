"""Nothing gets to a decoder that could hurt it, and what gets through is what it was."""

import random
import struct
import zlib
from io import BytesIO

import numpy as np
import psutil
import pytest
from PIL import Image

from omni.errors import MediaError
from omni.media.pictures import PictureLimits, decode, inspect
from tests.pictures import encoded, noise, photo

NUM_DAMAGED = 10_000
GROWTH_BYTES = 48 << 20
SMALL = PictureLimits(max_bytes=1 << 16, max_pixels=10_000, scaled_pixels=2_000)


def png(width: int, height: int, *extra: bytes, body: bytes = b"") -> bytes:
    """A PNG that promises this size, with further chunks before its end."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", body or zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + data + chunk(b"IEND", b"")


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_what_it_was(kind: str) -> None:
    cat = photo("cat.png")
    seen = decode(encoded(Image.fromarray(cat), kind))
    assert seen.shape == cat.shape
    assert np.abs(seen.astype(int) - cat).mean() < 4
    assert not seen.flags.writeable


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_large_picture_is_scaled_and_keeps_its_shape(kind: str) -> None:
    large = encoded(Image.new("RGB", (4000, 3000), (200, 30, 30)), kind)
    seen = decode(large)
    height, width, _ = seen.shape
    assert 1_500_000 < width * height <= 1_800_000
    assert width / height == pytest.approx(4 / 3, abs=0.01)
    assert np.allclose(seen[height // 2, width // 2], [200, 30, 30], atol=6)


def test_four_thousand_pixels_square_are_scaled() -> None:
    assert decode(encoded(Image.new("RGB", (4000, 4000)), "PNG")).shape == (1341, 1341, 3)


def test_a_picture_taken_sideways_stands_upright() -> None:
    picture = Image.new("RGB", (40, 20))
    exif = picture.getexif()
    exif[0x0112] = 6
    out = BytesIO()
    picture.save(out, "JPEG", exif=exif)
    assert decode(out.getvalue()).shape == (40, 20, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK"])
def test_every_kind_of_pixel_becomes_rgb(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    assert decode(encoded(Image.new(mode, (6, 4)), kind)).shape == (4, 6, 3)


GIF = encoded(Image.new("RGB", (4, 4)), "GIF")
JPEG = noise(32, 32, "JPEG")
PNG = noise(8, 8)
WEBP = noise(32, 32, "WEBP")


def moving(kind: str) -> bytes:
    out = BytesIO()
    first, second = Image.new("RGB", (4, 4)), Image.new("RGB", (4, 4), "red")
    first.save(out, kind, save_all=True, append_images=[second], duration=100)
    return out.getvalue()


REFUSED = {
    "nothing": b"",
    "text": b"not a picture",
    "gif": GIF,
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
    "bmp": encoded(Image.new("RGB", (4, 4)), "BMP"),
    "tiff": encoded(Image.new("RGB", (4, 4)), "TIFF"),
    "moving png": moving("PNG"),
    "moving webp": moving("WEBP"),
    "bomb in a png": png(30_000, 30_000),
    "bomb in a jpeg": JPEG.replace(b"\x00\x20\x00\x20", b"\x75\x30\x75\x30"),
    "bomb in a webp": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\x2f\x75\0\x2f\x75\0",
    "empty png": png(0, 5),
    "png and a page": PNG + b"<html>",
    "jpeg and an archive": JPEG + b"PK\x03\x04",
    "webp and a script": WEBP + b"#!/bin/sh",
    "half a png": PNG[: len(PNG) // 2],
    "half a jpeg": JPEG[: len(JPEG) // 2],
    "half a webp": WEBP[: len(WEBP) // 2],
    "two jpegs in one": JPEG[:-2] + JPEG[2:],
    "a jpeg of many passes": JPEG[:-2] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00x" * 99
    + b"\xff\xd9",
    "a png of many pieces": png(4, 4, *[chunk(b"teXt", b"") for _ in range(5000)]),
}  # fmt: skip


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_could_hurt_is_refused_before_a_decoder_sees_it(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a decoder was asked")

    monkeypatch.setattr(Image, "open", never)
    with pytest.raises(MediaError) as refusal:
        decode(data, field="item.content.0.image_url")
    assert refusal.value.param == "item.content.0.image_url"


def test_the_limits_are_the_callers() -> None:
    assert decode(noise(100, 100), SMALL).shape == (44, 44, 3)
    for data in (noise(101, 100), noise(200, 200, "JPEG")):
        with pytest.raises(MediaError) as refusal:
            inspect(data, SMALL)
        assert refusal.value.code == "picture_too_large"


def test_compressed_remarks_are_thrown_away_unread() -> None:
    bomb = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(1 << 22)))
    assert b"zTXt" not in inspect(png(4, 4, bomb)).encoded


def test_damaged_pictures_neither_crash_nor_leak() -> None:
    rng = random.Random(7)
    originals = [noise(24, 24, kind) for kind in ("PNG", "JPEG", "WEBP")]
    refused = before_bytes = 0
    for index in range(NUM_DAMAGED):
        if index == NUM_DAMAGED // 5:  # by now, what is kept for later use is there
            before_bytes = psutil.Process().memory_info().rss
        data = bytearray(rng.choice(originals))
        for _ in range(rng.randint(1, 6)):
            match rng.randrange(4):
                case 0:
                    data[rng.randrange(len(data))] = rng.randrange(256)
                case 1:
                    at = rng.randrange(len(data))
                    del data[at : at + rng.randint(1, 40)]
                case 2:
                    at = rng.randrange(len(data))
                    data[at:at] = rng.randbytes(rng.randint(1, 20))
                case _:
                    at = rng.randrange(min(64, len(data)))  # where the sizes stand
                    data[at] = rng.choice((0, 1, 0x7F, 0xFF))
            data = data or bytearray(b"?")
        try:
            seen = decode(bytes(data), SMALL)
        except MediaError:
            refused += 1
        else:
            assert seen.shape[0] * seen.shape[1] <= SMALL.scaled_pixels
    assert NUM_DAMAGED // 4 < refused < NUM_DAMAGED
    assert psutil.Process().memory_info().rss - before_bytes < GROWTH_BYTES
