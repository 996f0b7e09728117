"""CenterNet on MobileNet-v3: where in a picture things of COCO's 80 kinds are.

Hides the network's grid and its letterbox: pictures are scaled to `SIDE` without stretching, since
a stretched cat was taken for a dog. Boxes are fractions of the picture, one a thing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from omni.media.coco import LABELS
from omni.models.embedded import tfjs
from omni.models.onnx_session import open_session

SIDE: Final = 512
_CELL: Final = 4  # pixels between neighbouring answers
_STRIDE: Final = 32  # sides of the input are multiples of it
_MAX_FOUND: Final = 64
_DOUBLE: Final = 0.6  # of the smaller box, covered by another of its kind
_EQUAL: Final = 0.75  # of what two boxes cover together, covered by both
_OUTPUTS: Final = ("tower_0/keypoints", "tower_0/wh")

Box = tuple[float, float, float, float]  # left, top, right, bottom, 0..1 of the picture


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    label: str
    score: float
    box: Box


class Detector:
    """Args:
    graph: the TensorFlow.js model's JSON.
    weights: its packed weights.
    """

    def __init__(self, graph: Path, weights: Path, num_threads: int) -> None:
        self._session = open_session(tfjs.to_onnx(graph, weights, _OUTPUTS), num_threads)

    def detect(self, picture: NDArray[np.uint8], threshold: float = 0.3) -> list[Detection]:
        """The things in an RGB picture [H, W, 3], the surest first."""
        height, width = picture.shape[:2]
        scale = SIDE / max(height, width)
        inner = max(1, round(width * scale)), max(1, round(height * scale))
        canvas = np.zeros((_padded(inner[1]), _padded(inner[0]), 3), np.float32)
        resized = Image.fromarray(picture).resize(inner, Image.Resampling.BILINEAR)
        canvas[: inner[1], : inner[0]] = np.asarray(resized)
        inputs = {"image": canvas.transpose(2, 0, 1)[None]}
        heat, reach = self._session.run(None, inputs)  # [1, 80, h, w], [1, 4, h, w]
        return _distinct(_peaks(heat[0], reach[0], inner, threshold))


def _padded(length: int) -> int:
    return -(-length // _STRIDE) * _STRIDE


def _peaks(
    heat: NDArray[np.float32], reach: NDArray[np.float32], inner: tuple[int, int], threshold: float
) -> list[Detection]:
    """The local maxima of the heat map, with the box that reaches out from each."""
    framed = np.pad(heat, ((0, 0), (1, 1), (1, 1)))
    kinds, rows, columns = np.nonzero(heat >= threshold)
    scores = heat[kinds, rows, columns]
    found: list[Detection] = []
    for i in np.argsort(-scores):
        if scores[i] < framed[kinds[i], rows[i] : rows[i] + 3, columns[i] : columns[i] + 3].max():
            continue
        left, top, right, bottom = reach[:, rows[i], columns[i]]
        x, y = columns[i] * _CELL, rows[i] * _CELL
        corners = np.array([x - left, y - top, x + right, y + bottom]) / (*inner, *inner)
        x0, y0, x1, y1 = corners.clip(0, 1).tolist()
        if x1 > x0 and y1 > y0:
            found.append(Detection(LABELS[kinds[i]], float(scores[i]), (x0, y0, x1, y1)))
        if len(found) == _MAX_FOUND:
            break
    return found


def _distinct(detections: list[Detection]) -> list[Detection]:
    """Without further boxes of the same kind that mostly cover one found already, and without
    what else the same box might be: one thing is one kind of thing, the likeliest."""
    kept: list[Detection] = []
    for one in detections:
        if not any(_is_same(each, one) for each in kept):
            kept.append(one)
    return kept


def _is_same(one: Detection, other: Detection) -> bool:
    common = _common(one.box, other.box)
    if one.label == other.label:
        return common > _DOUBLE * min(_area(one.box), _area(other.box))
    return common > _EQUAL * (_area(one.box) + _area(other.box) - common)


def _common(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
