"""What the camera shows, in words, within a share of one core: speech always comes first.

Hides what is worth looking at. Laws: a picture like the last one costs its thumbnail and says
nothing; one that was asked for is always answered; of the others only a session's latest waits,
and it waits while the budget is spent.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from omni.dialog.scene import Look, Scene
from omni.errors import MediaError
from omni.media.pictures import PictureLimits, decode
from omni.media.video import Pace, Thumbnail, change, thumbnail
from omni.types import Chunk, PictureChunk, Pixels, Seen, StageName, StageReport

log = logging.getLogger(__name__)

BURST_S: Final = 0.5  # of the core, saved up while nothing is to be seen
REST_S: Final = 0.02  # while over budget, so that new pictures and closings get through
CUT: Final = 60.0  # change, in grey levels, that makes it another scene

Measure = Callable[[], float]


class Looker(Protocol):
    """The models: finds things and text in one picture."""

    def look(self, picture: Pixels, captured_ms: int) -> Look:
        """What catches the eye."""

    def look_closely(self, picture: Pixels, captured_ms: int) -> Look:
        """The same, and small print."""


class Budget:
    """A share of one core, as a bucket that fills with time and is emptied by work.

    Args:
        share: of one core, 0..1.
        wall, spent: seconds of the clock, and of this thread's work.
    """

    def __init__(
        self, share: float, wall: Measure = time.monotonic, spent: Measure = time.thread_time
    ) -> None:
        self._share = share
        self._wall, self._spent = wall, spent
        self._level_s = BURST_S
        self._filled_s = self._started_s = 0.0

    @property
    def is_open(self) -> bool:
        now_s = self._wall()
        if self._filled_s:
            earned_s = (now_s - self._filled_s) * self._share
            self._level_s = min(BURST_S, self._level_s + earned_s)
        self._filled_s = now_s
        return self._level_s > 0

    def begin(self) -> None:
        self._started_s = self._spent()

    def end(self) -> None:
        """Charge what was done since `begin`."""
        self._level_s -= self._spent() - self._started_s


@dataclass(slots=True, eq=False)
class _Eye:
    """One session's."""

    scene: Scene = field(default_factory=Scene)
    asked: list[PictureChunk] = field(default_factory=list)
    latest: PictureChunk | None = None
    thumb: Thumbnail | None = None
    looked_ms: int = 0


class SeeStage:
    """Args:
    make_looker: loads the models; called on the worker thread.
    limits: of the pictures.
    budget: for pictures that nobody asked for.
    """

    name: StageName = "see"

    def __init__(
        self, make_looker: Callable[[], Looker], limits: PictureLimits, budget: Budget
    ) -> None:
        self._make_looker = make_looker
        self._limits = limits
        self._budget = budget
        self._pace = Pace()
        self._eyes: dict[str, _Eye] = {}

    def load(self) -> None:
        self._looker = self._make_looker()

    def open(self, session_id: str) -> None:
        self._eyes[session_id] = _Eye()

    def close(self, session_id: str) -> None:
        self._eyes.pop(session_id, None)

    def has_work(self) -> bool:
        return any(eye.asked or eye.latest for eye in self._eyes.values())

    def step(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        for chunk in chunks:
            if isinstance(chunk, PictureChunk):
                eye = self._eyes[chunk.session_id]
                if chunk.is_asked:
                    eye.asked.append(chunk)
                else:
                    eye.latest = chunk
        picture = self._next()
        if picture is None:
            return []
        self._budget.begin()
        try:
            return self._see(self._eyes[picture.session_id], picture)
        except MediaError as error:
            log.warning("picture refused", extra={"session": picture.session_id})
            stamp = (picture.session_id, picture.epoch, picture.unit_index)
            return [StageReport(*stamp, "see", "failed", error.message)]
        finally:
            self._budget.end()

    def _next(self) -> PictureChunk | None:
        """The picture to see now: one that was asked for, or the oldest if there is budget."""
        for eye in self._eyes.values():
            if eye.asked:
                return eye.asked.pop(0)
        waiting = [eye for eye in self._eyes.values() if eye.latest]
        if not waiting:
            return None
        if not self._budget.is_open:
            time.sleep(REST_S)
            return None
        eye = min(waiting, key=lambda each: each.looked_ms)
        picture, eye.latest = eye.latest, None
        return picture

    def _see(self, eye: _Eye, chunk: PictureChunk) -> list[Chunk]:
        picture = decode(chunk.encoded, self._limits)
        thumb = thumbnail(picture)
        difference = CUT if eye.thumb is None else change(eye.thumb, thumb)
        is_old = chunk.captured_ms - eye.looked_ms >= self._pace.still_ms
        if not (chunk.is_asked or is_old or difference >= self._pace.change):
            return []
        eye.thumb, eye.looked_ms = thumb, chunk.captured_ms
        if difference >= CUT:
            eye.scene.cut()
        look = self._looker.look_closely if chunk.is_asked else self._looker.look
        has_changed = eye.scene.update(look(picture, chunk.captured_ms))
        return [_seen(chunk, eye.scene)] if has_changed or chunk.is_asked else []


def _seen(chunk: PictureChunk, scene: Scene) -> Seen:
    return Seen(
        chunk.session_id,
        chunk.epoch,
        chunk.unit_index,
        chunk.picture_id,
        chunk.captured_ms,
        scene.note,
        scene.things,
        scene.text,
        scene.changes,
        scene.gone,
    )
