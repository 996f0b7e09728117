"""Which of a camera's pictures are worth seeing, told from thumbnails.

Hides the change score and the pace. Laws: a still scene is seen about once in `still_ms`, a moving
one at most once in `moving_ms`; who asks gets the sharpest picture of the next `ask_ms`; times are
those of the audio clock and never go back.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from omni.errors import MediaError

THUMBNAIL: Final = (64, 48)  # width, height
_CELLS: Final = (6, 8)  # rows, columns in which change is looked for

Thumbnail = NDArray[np.uint8]  # [48, 64], grey


@dataclass(frozen=True, slots=True, eq=False)
class Pace:
    """How often to look. `change`: grey levels (0..255) that a part of the picture must differ
    by, light and noise aside."""

    moving_ms: int = 100
    still_ms: int = 5000
    probe_ms: int = 250
    ask_ms: int = 300
    change: float = 12.0


class FrameSampler:
    """One camera's. A driver decodes a picture only when `is_due`, makes its thumbnail, and shows
    the picture if `wants` says so."""

    def __init__(self, pace: Pace = Pace()) -> None:
        self._pace = pace
        self._seen: Thumbnail | None = None
        self._seen_ms = 0
        self._probed_ms = 0
        self._is_moving = True
        self._asked_ms: int | None = None
        self._sharpness: deque[float] = deque(maxlen=8)

    def is_due(self, captured_ms: int) -> bool:
        """Whether a picture of this time is worth decoding: while nothing moves, few are."""
        if self._seen is None or self._asked_ms is not None:
            return True
        interval_ms = self._pace.moving_ms if self._is_moving else self._pace.probe_ms
        return captured_ms - self._probed_ms >= interval_ms

    def ask(self, captured_ms: int) -> None:
        """The user wants to know: a sharp picture, now."""
        self._asked_ms = captured_ms

    def wants(self, thumb: Thumbnail, captured_ms: int) -> bool:
        """Whether to see this picture."""
        self._probed_ms = max(captured_ms, self._probed_ms)
        self._sharpness.append(sharpness(thumb))
        is_wanted = self._is_wanted(thumb, captured_ms)
        if is_wanted:
            self._seen, self._seen_ms, self._asked_ms = thumb, captured_ms, None
        return is_wanted

    def _is_wanted(self, thumb: Thumbnail, captured_ms: int) -> bool:
        pace = self._pace
        if self._asked_ms is not None:
            is_late = captured_ms - self._asked_ms >= pace.ask_ms
            return is_late or self._sharpness[-1] >= 0.9 * max(self._sharpness)
        if self._seen is None:
            return True
        since_ms = captured_ms - self._seen_ms
        self._is_moving = change(self._seen, thumb) >= pace.change
        return since_ms >= (pace.moving_ms if self._is_moving else pace.still_ms)


def thumbnail(picture: NDArray[np.uint8]) -> Thumbnail:
    """A picture [H, W, 3] or [H, W], small and grey."""
    image = Image.fromarray(picture).convert("L")
    return np.asarray(image.resize(THUMBNAIL, Image.Resampling.BOX))


def change(before: Thumbnail, after: Thumbnail) -> float:
    """How much the part of the picture that changed most differs, in grey levels.

    A change of the light as a whole does not count, since automatic exposure makes it all the
    time.
    """
    difference = after.astype(np.float32) - before
    difference -= np.median(difference)
    rows, columns = _CELLS
    height, width = difference.shape
    cells = np.abs(difference).reshape(rows, height // rows, columns, width // columns)
    return float(cells.mean((1, 3)).max())


def sharpness(thumb: Thumbnail) -> float:
    """Mean square of the Laplacian: more is sharper, among pictures of one scene."""
    grey = thumb.astype(np.float32)
    middle = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(((4 * middle - around) ** 2).mean())


def stills(path: Path, rate_hz: float = 5.0, side: int = 640) -> Iterator[tuple[int, bytes]]:
    """A film's pictures as a camera client would send them: time in ms, and JPEG.

    Raises:
        MediaError: it cannot be read; names the file.
    """
    try:
        with av.open(str(path)) as film:
            next_s = 0.0
            for frame in film.decode(video=0):
                if frame.time is None or frame.time < next_s:
                    continue
                next_s = frame.time + 1 / rate_hz
                image = Image.fromarray(frame.to_ndarray(format="rgb24"))
                image.thumbnail((side, side))
                out = BytesIO()
                image.save(out, "JPEG", quality=85)
                yield round(frame.time * 1000), out.getvalue()
    except (av.FFmpegError, OSError, IndexError) as error:
        raise MediaError(f"cannot read {path.name}: {error}", param="video") from error
