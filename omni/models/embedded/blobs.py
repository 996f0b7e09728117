"""Connected regions of a map as tilted rectangles: where lines of text lie.

Hides the labelling of regions and the geometry of tilted crops; only numpy and Pillow are used.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_MAX_TILT = math.radians(30)  # steeper "lines" are upright signs or no text


@dataclass(frozen=True, slots=True, eq=False)
class Blob:
    """A rectangle of `width` × `height` pixels around `centre`, turned clockwise by `tilt`."""

    centre: tuple[float, float]
    width: float
    height: float
    tilt: float

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the upright box around it."""
        c, s = abs(math.cos(self.tilt)), abs(math.sin(self.tilt))
        x = (self.width * c + self.height * s) / 2
        y = (self.width * s + self.height * c) / 2
        return self.centre[0] - x, self.centre[1] - y, self.centre[0] + x, self.centre[1] + y

    def grown(self, ratio: float) -> "Blob":
        """Undo the shrinking of DB's training targets: by area × ratio ÷ perimeter a side."""
        offset = self.width * self.height * ratio / (2 * (self.width + self.height))
        return replace(self, width=self.width + 2 * offset, height=self.height + 2 * offset)

    def scaled(self, ratio: tuple[float, float]) -> "Blob":
        """In the pixels of a picture that is wider and higher by these ratios."""
        x, y = self.centre[0] * ratio[0], self.centre[1] * ratio[1]
        return Blob((x, y), self.width * ratio[0], self.height * ratio[1], self.tilt)

    def crop(self, image: Image.Image, height: int) -> Image.Image:
        """Its part of the picture, upright and `height` pixels high."""
        width = max(height, round(self.width * height / self.height))
        c, s = math.cos(self.tilt), math.sin(self.tilt)
        right = (c * self.width / width, s * self.width / width)
        down = (-s * self.height / height, c * self.height / height)
        left = self.centre[0] - (right[0] * width + down[0] * height) / 2
        top = self.centre[1] - (right[1] * width + down[1] * height) / 2
        matrix = (right[0], down[0], left, right[1], down[1], top)
        return image.transform(
            (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
        )


def blobs(
    values: NDArray[np.float32], threshold: float, sure: float, min_side: float
) -> list[Blob]:
    """The regions of a map [H, W] above `threshold` whose mean is at least `sure`."""
    rows, starts, ends, roots = _runs(values >= threshold)
    found = []
    for root in np.unique(roots):
        members = np.flatnonzero(roots == root)
        xs = np.concatenate([np.arange(starts[i], ends[i]) for i in members])
        ys = np.repeat(rows[members], ends[members] - starts[members])
        if values[ys, xs].mean() < sure:
            continue
        blob = _rectangle(xs, ys)
        if min(blob.width, blob.height) >= min_side and abs(blob.tilt) <= _MAX_TILT:
            found.append(blob)
    return found


def _runs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], ...]:
    """Horizontal runs of a mask: row, start, end, and a number common to connected runs."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    roots = list(range(len(rows)))

    def find(i: int) -> int:
        while roots[i] != i:
            roots[i] = roots[roots[i]]
            i = roots[i]
        return i

    above = 0  # first run of the row above that may still touch
    for i in range(len(rows)):
        while above < i and (
            rows[above] < rows[i] - 1 or (rows[above] == rows[i] - 1 and ends[above] < starts[i])
        ):
            above += 1
        other = above
        while other < i and rows[other] == rows[i] - 1 and starts[other] <= ends[i]:
            roots[find(i)] = find(other)
            other += 1
    return rows, starts, ends, np.array([find(i) for i in range(len(rows))], np.intp)


def _rectangle(xs: NDArray[np.intp], ys: NDArray[np.intp]) -> Blob:
    """The rectangle along the main axis of a set of pixels."""
    points = np.stack([xs, ys]).astype(np.float64) + 0.5
    middle = points.mean(1, keepdims=True)
    (xx, xy), (_, yy) = (points - middle) @ (points - middle).T
    tilt = 0.5 * math.atan2(2 * xy, xx - yy)
    axes = np.array([[math.cos(tilt), math.sin(tilt)], [-math.sin(tilt), math.cos(tilt)]])
    along = axes @ points
    low, high = along.min(1) - 0.5, along.max(1) + 0.5
    x, y = axes.T @ ((low + high) / 2)
    return Blob((float(x), float(y)), float(high[0] - low[0]), float(high[1] - low[1]), tilt)
