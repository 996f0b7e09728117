"""PP-OCRv4: the lines of printed text in a picture, in reading order.

Hides the detector's map (how lines are found in it, also tilted ones) and the recogniser's
alphabet. Pre- and post-processing after PaddleOCR (differentiable binarisation, CTC).
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from omni.models.embedded.blobs import Blob, blobs
from omni.models.embedded.detect import Box
from omni.models.onnx_session import open_session

_STRIDE: Final = 32
_INK: Final = 0.3  # of the detector's map
_SURE: Final = 0.6  # mean of the map within a line
_GROWTH: Final = 1.6  # lines were shrunk for training by this
_MIN_SIDE: Final = 3  # pixels of the map
_LINE_HEIGHT: Final = 48
_MAX_LINE_WIDTH: Final = 1280
_MIN_CONFIDENCE: Final = 0.7
_HALF_SEEN: Final = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class TextLine:
    text: str
    confidence: float
    box: Box


class TextReader:
    """Args:
    detector: finds lines.
    recogniser: reads one; its alphabet is in its metadata.
    """

    def __init__(self, detector: Path, recogniser: Path, num_threads: int) -> None:
        self._detector = open_session(detector, num_threads)
        self._recogniser = open_session(recogniser, num_threads)
        listed = self._recogniser.get_modelmeta().custom_metadata_map["character"]
        self._alphabet = ["", *listed.splitlines(), " "]  # the first is CTC's blank

    def find(self, picture: NDArray[np.uint8], side: int) -> list[Blob]:
        """Where lines are, in pixels of the RGB picture [H, W, 3]; it is looked at with its
        longer side reduced to `side`."""
        height, width = picture.shape[:2]
        scale = min(1.0, side / max(height, width))
        size = tuple(max(_STRIDE, round(n * scale / _STRIDE) * _STRIDE) for n in (width, height))
        resized = Image.fromarray(picture).resize((size[0], size[1]), Image.Resampling.BILINEAR)
        (ink,) = self._detector.run(None, {"x": _normalised(np.asarray(resized))})
        found = blobs(ink[0, 0], _INK, _SURE, _MIN_SIDE)
        ratio = width / size[0], height / size[1]
        lines = [blob.grown(_GROWTH).scaled(ratio) for blob in found]
        return _in_reading_order(lines)

    def read(self, picture: NDArray[np.uint8], lines: list[Blob]) -> list[TextLine]:
        """The words of those lines that can be read."""
        height, width = picture.shape[:2]
        whole = Image.fromarray(picture)
        read = []
        for line in lines:
            text, confidence = self._read_line(np.asarray(line.crop(whole, _LINE_HEIGHT)))
            if text.strip() and confidence >= _MIN_CONFIDENCE:
                x0, y0, x1, y1 = line.bounds
                box = (x0 / width, y0 / height, x1 / width, y1 / height)
                read.append(TextLine(text.strip(), confidence, box))
        return read

    def _read_line(self, line: NDArray[np.uint8]) -> tuple[str, float]:
        """Words and confidence of a line upright in a picture [48, W, 3]."""
        width = min(line.shape[1], _MAX_LINE_WIDTH)
        (odds,) = self._recogniser.run(None, {"x": _normalised(line[:, :width])})
        best = odds[0].argmax(-1)  # [T]
        begins = np.flatnonzero((best != 0) & (best != np.roll(best, 1)))
        if not begins.size:
            return "", 0.0
        text = "".join(
            f" {self._alphabet[best[step]]}" if is_apart else self._alphabet[best[step]]
            for step, is_apart in zip(begins, _apart(odds[0], begins), strict=True)
        )
        return " ".join(text.split()), float(odds[0, begins, best[begins]].mean())


def _apart(odds: NDArray[np.float32], begins: NDArray[np.intp]) -> list[bool]:
    """Before which characters a space belongs: the network often half sees one in a gap, over
    several steps, and never within a word."""
    gaps = pairwise([-1, *begins])
    return [float(odds[start + 1 : end, -1].sum()) > _HALF_SEEN for start, end in gaps]


def _normalised(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[1, 3, H, W] in -1..1, blue first as the networks learnt it."""
    scaled = picture[..., ::-1].astype(np.float32) / 127.5 - 1
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def _in_reading_order(lines: list[Blob]) -> list[Blob]:
    """From the top; what stands side by side from the left."""
    rows: list[list[Blob]] = []
    for line in sorted(lines, key=lambda each: each.centre[1]):
        if rows and line.centre[1] - rows[-1][0].centre[1] < line.height / 2:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda each: each.centre[0])]
