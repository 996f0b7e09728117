"""Pictures to embeddings, those of all sessions together.

Hides whether a second's pictures are seen one by one (2D) or packed into the tokens of one (3D).
Law: every picture is answered, a damaged one with nothing, so that no unit waits for it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from omni.errors import MediaError
from omni.media import slicing
from omni.media.pictures import PictureLimits, decode
from omni.models.minicpmo.brain import Eyes
from omni.models.minicpmo.wishes import Emit, See, SeePacked, Work
from omni.stages.minicpmo.lane import Lane, Task
from omni.types import Chunk, Pixels, StageName, StageReport, frozen_array
from omni.units import PictureEmbeddings, UnitPictures

WARM_SIDE = 448
TIME_MS = 100  # the resampler counts time in tenths of a second


class SeeStage:
    """Args:
    make_eyes: loads tower and resampler; called on the worker thread.
    limits: of the pictures.
    max_slices: tiles a picture is cut into, beside its overview.
    is_packed: a second's pictures become one group of tokens.
    """

    name: StageName = "see"

    def __init__(
        self, make_eyes: Callable[[], Eyes], limits: PictureLimits, max_slices: int, resampler: str
    ) -> None:
        self._make_eyes = make_eyes
        self._limits = limits
        self._max_slices = max_slices
        self._is_packed = resampler == "3d"

    def load(self) -> None:
        self._eyes = self._make_eyes()
        self._lane = Lane(self.name, self._eyes)
        self._eyes.answer([See(np.zeros((WARM_SIDE, WARM_SIDE, 3), np.uint8), 1)])

    def open(self, session_id: str) -> None:
        """Nothing to prepare: every picture stands for itself."""

    def close(self, session_id: str) -> None:
        self._lane.cancel(session_id)

    def has_work(self) -> bool:
        return self._lane.has_work

    def step(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        out: list[Chunk] = []
        for chunk in chunks:
            if isinstance(chunk, UnitPictures):
                out += self._take(chunk)
        return out + self._lane.step()

    def _take(self, chunk: UnitPictures) -> list[Chunk]:
        stamp = (chunk.session_id, chunk.epoch, chunk.unit_index)
        pictures: list[Pixels] = []
        times: list[int] = []
        out: list[Chunk] = []
        for encoded, captured_ms in zip(chunk.encoded, chunk.captured_ms, strict=True):
            try:
                pictures.append(decode(encoded, self._limits))
                times.append(captured_ms // TIME_MS)
            except MediaError as error:
                out.append(StageReport(*stamp, "see", "failed", error.message))
                if not self._is_packed:
                    out.append(PictureEmbeddings(*stamp, _NOTHING))
        if pictures:
            work = self._packed(pictures, times) if self._is_packed else self._each(pictures)
            self._lane.add(
                Task(
                    chunk,
                    lambda: work,
                    lambda seen: [PictureEmbeddings(*stamp, _out(seen[0]), seen[1])],
                )
            )
        elif self._is_packed:
            out.append(PictureEmbeddings(*stamp, _NOTHING))
        return out

    def _each(self, pictures: Sequence[Pixels]) -> Work[None]:
        for picture in pictures:
            tiles = yield See(picture, self._max_slices)
            yield Emit((tiles, self._columns(picture)))

    def _packed(self, pictures: Sequence[Pixels], times: Sequence[int]) -> Work[None]:
        yield Emit(([(yield SeePacked(tuple(pictures), tuple(times)))], 0))

    def _columns(self, picture: Pixels) -> int:
        """How many slices of a picture stand side by side; 0 if it is not cut."""
        size = (picture.shape[1], picture.shape[0])
        grid = slicing.plan(size, self._max_slices, self._eyes.eye.slicing).grid
        return grid[0] if grid else 0


_NOTHING = frozen_array(np.zeros((0, 0, 0), np.float32))


def _out(tiles: Sequence[torch.Tensor]) -> np.ndarray:
    return frozen_array(torch.stack(list(tiles)).float().cpu().numpy())
