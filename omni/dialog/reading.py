"""What a half-duplex model is given to read: seconds of sound, pictures and written words.

Hides when its context begins, and which pictures go with which second. Law: whatever is read is
read once, in the order in which it was said, shown or written.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np

from omni.config import OmniConfig
from omni.dialog.options import SessionOptions
from omni.dialog.outbox import Outbox
from omni.dialog.turn_units import UNIT_SAMPLES
from omni.events import Item, PictureSeen
from omni.types import Samples, frozen_array
from omni.units import BeginContext, TurnPart, TurnRead, UnitPictures, UnitSound

Picture = tuple[str, bytes, int]  # id, encoded, when it was taken


class Reading:
    """Args:
    outbox: where chunks and events go.
    config: how many pictures a second may have.
    options: the session's; changeable.
    seed: of every draw.
    """

    def __init__(
        self, outbox: Outbox, config: OmniConfig, options: SessionOptions, seed: int
    ) -> None:
        self._out = outbox
        self._config = config.brain.duplex
        self._has_eyes = config.brain.see.enabled
        self.options = options
        self._seed = seed
        self._begun: SessionOptions | None = None  # what the model's context began with
        self._next_part = 0
        self._camera: deque[Picture] = deque(maxlen=self._config.num_pictures)
        self._shown: dict[int, tuple[Picture, ...]] = {}  # pictures that are being read

    def show(self, encoded: bytes, captured_ms: int) -> str:
        """A camera's picture, for the next second that is heard; its id."""
        picture_id = self._out.new_id("pic")
        self._camera.append((picture_id, encoded, captured_ms))
        return picture_id

    def begin(self) -> None:
        """Begin a context, unless there is one with the present instructions and voice."""
        options, begun = self.options, self._begun
        is_same = begun and (begun.instructions, begun.voice) == (
            options.instructions,
            options.voice,
        )
        if is_same:
            return
        self._begun, self._out.unit_index = options, self._next_part
        stamp = self._out.stamp
        self._out.send(BeginContext(*stamp, options.instructions, options.voice, self._seed))

    def restart(self) -> None:
        """The context is lost."""
        self._begun = None
        self._shown.clear()

    def sound(self, second: Samples) -> None:
        """The next second [16000] of the user's turn, with what the camera showed in it."""
        pictures = list(self._camera)
        self._camera.clear()
        self._send(second, "", pictures)

    def item(self, item: Item, at_ms: int) -> None:
        """A message of the user's."""
        images = [part.image for part in item.parts if part.image is not None]
        pictures = [(self._out.new_id("pic"), image, at_ms) for image in images]
        sounds = [part.samples for part in item.parts if part.samples is not None]
        for sound in sounds:
            for start in range(0, len(sound), UNIT_SAMPLES):
                second = sound[start : start + UNIT_SAMPLES]
                padded = np.pad(second, (0, UNIT_SAMPLES - len(second))).astype(np.float32)
                self._send(frozen_array(padded), "", ())
        is_written = item.text and not sounds
        if is_written or pictures:
            self._send(None, item.text if is_written else "", pictures)

    def was_read(self, read: TurnRead) -> None:
        for picture_id, _, at_ms in self._shown.pop(read.unit_index, ()):
            self._out.emit(PictureSeen(picture_id, "", at_ms))

    def _send(self, second: Samples | None, text: str, pictures: Sequence[Picture]) -> None:
        self.begin()
        index = self._out.unit_index = self._next_part
        self._next_part += 1
        stamp = self._out.stamp
        if not self._has_eyes:
            pictures = ()
        num_answers = len(pictures)
        if pictures:
            self._shown[index] = tuple(pictures)
            encoded, times = tuple(p[1] for p in pictures), tuple(p[2] for p in pictures)
            num_answers = 1 if self._config.resampler == "3d" else num_answers
        self._out.send(TurnPart(*stamp, num_answers, text, second is not None))
        if pictures:
            self._out.send(UnitPictures(*stamp, encoded, times))
        if second is not None:
            self._out.send(UnitSound(*stamp, second))
