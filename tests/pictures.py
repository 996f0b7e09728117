"""Small pictures for tests, made on the spot."""

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

MEDIA = Path(__file__).parent / "media"


def encoded(picture: Image.Image, kind: str = "JPEG") -> bytes:
    out = BytesIO()
    picture.save(out, kind)
    return out.getvalue()


def noise(width: int, height: int, kind: str = "PNG") -> bytes:
    """A picture that cannot be compressed."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return encoded(Image.fromarray(pixels), kind)


def photo(name: str) -> NDArray[np.uint8]:
    """A picture of tests/media, RGB [H, W, 3]."""
    return np.asarray(Image.open(MEDIA / name).convert("RGB"))


def page(*lines: str, tilt: float = 0) -> Image.Image:
    """Dark print on light paper, as it may be held up to a camera."""
    paper = Image.new("RGB", (640, 480), (240, 238, 230))
    draw = ImageDraw.Draw(paper)
    for index, line in enumerate(lines):
        draw.text((50, 90 + 50 * index), line, (20, 20, 30), ImageFont.load_default(32))
    return paper.rotate(tilt, fillcolor=(120, 110, 100))
