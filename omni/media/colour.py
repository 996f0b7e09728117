"""The name of the colour that stands out in a part of a picture, if one does.

Hides where one colour ends and the next begins: hue in degrees, saturation and value of HSV, set
by eye. Law: a part without a clear majority has no colour.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_HUES: Final = ((12, "red"), (42, "orange"), (70, "yellow"), (165, "green"), (260, "blue"),
                (295, "purple"), (335, "pink"), (361, "red"))  # fmt: skip
COLOURS: Final = ("black", "grey", "white", "brown", "red", "orange", "yellow", "green", "blue",
                 "purple", "pink")  # fmt: skip
_SIDE: Final = 32
_BODY: Final = (0.25, 0.6, 0.75, 0.95)  # of a box: below a face or a rim, without the background
_MAJORITY: Final = 0.4

Box = tuple[float, float, float, float]


def dominant_colour(picture: NDArray[np.uint8], box: Box) -> str:
    """Name of the colour of what is in `box` (left, top, right, bottom, 0..1) of an RGB picture
    [H, W, 3]; empty where none has the majority."""
    height, width = picture.shape[:2]
    left, top, right, bottom = box
    x0, x1 = (int((left + (right - left) * share) * width) for share in _BODY[::2])
    y0, y1 = (int((top + (bottom - top) * share) * height) for share in _BODY[1::2])
    part = picture[y0:y1, x0:x1]
    if not part.size:
        return ""
    image = Image.fromarray(part).resize((_SIDE, _SIDE), Image.Resampling.BOX).convert("HSV")
    names = _named(np.asarray(image).reshape(-1, 3).astype(np.int32))
    shares = np.bincount(names, minlength=len(COLOURS)) / names.size
    best = int(shares.argmax())
    return COLOURS[best] if shares[best] >= _MAJORITY else ""


def _named(hsv: NDArray[np.int32]) -> NDArray[np.intp]:
    """Index into `COLOURS` of each pixel [N, 3], components 0..255."""
    hue, saturation, value = hsv[:, 0] * 360 // 255, hsv[:, 1], hsv[:, 2]
    limits = [limit for limit, _ in _HUES]
    by_hue = np.array([COLOURS.index(name) for _, name in _HUES])
    names = by_hue[np.searchsorted(limits, hue, side="right")]
    is_warm = (hue < 50) & (value < 170) & (saturation < 190)
    names = np.where(is_warm, COLOURS.index("brown"), names)
    grey = np.where(value < 60, 0, np.where(value < 180, 1, 2))
    is_grey = (saturation < 50) | (value < 45)
    return np.asarray(np.where(is_grey, grey, names), np.intp)
