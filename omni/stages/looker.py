"""The embedded brain's sight: three small models put together into what one picture shows.

Hides which of them is believed when, and when it is worth reading. They give labels, boxes and
text; they do not understand a scene.
"""

from pathlib import Path
from typing import Final

from omni.dialog.scene import Finding, Look
from omni.media.colour import dominant_colour
from omni.models.embedded.classify import Classifier, Guess
from omni.models.embedded.detect import Detection, Detector
from omni.models.embedded.read_text import TextReader
from omni.types import Pixels

_FAINT: Final = 0.3  # below it, half of the detections are wrong
_GUESS: Final = 0.7  # of the classifier, for want of anything better
_WHOLE: Final = (0.0, 0.0, 1.0, 1.0)
_GLANCE_SIDE: Final = 320  # enough to tell that there is text
_READING_SIDE: Final = 960
_MAX_LINES: Final = 12
_FEW_LINES: Final = 6


class EmbeddedLooker:
    """Args:
    folder: the model files of `see/`.
    num_threads: cores one look may use.
    """

    def __init__(self, folder: Path, num_threads: int) -> None:
        self._detector = Detector(folder / "detector.json", folder / "detector.bin", num_threads)
        self._classifier = Classifier(
            folder / "classifier.pth", folder / "synsets.txt", folder / "lemmas.txt", num_threads
        )
        self._reader = TextReader(
            folder / "text_detector.onnx", folder / "text_reader.onnx", num_threads
        )

    def look(self, picture: Pixels, captured_ms: int) -> Look:
        return self._look(picture, captured_ms, _GLANCE_SIDE, _FEW_LINES)

    def look_closely(self, picture: Pixels, captured_ms: int) -> Look:
        return self._look(picture, captured_ms, _READING_SIDE, _MAX_LINES)

    def _look(self, picture: Pixels, captured_ms: int, side: int, max_lines: int) -> Look:
        detections = self._detector.detect(picture, _FAINT)
        guess = self._classifier.classify(picture)
        lines = self._reader.find(picture, side)[:max_lines]
        read = self._reader.read(picture, lines)
        findings = _believed(detections, guess, has_text=bool(read))
        coloured = tuple(_coloured(picture, each) for each in findings)
        return Look(captured_ms, coloured, tuple(line.text for line in read))


def _coloured(picture: Pixels, found: Detection) -> Finding:
    colour = "" if found.box == _WHOLE else dominant_colour(picture, found.box)
    return Finding(found.label, colour, found.box, found.score)


def _believed(detections: list[Detection], guess: Guess, *, has_text: bool) -> list[Detection]:
    """Detections and, where the classifier is sure, its guess: it may confirm a detection, or add
    a thing. A page of text is always some sign, menu or envelope to it."""
    if guess.probability < _GUESS:
        return detections
    if any(found.label == guess.kind for found in detections):
        return [
            Detection(d.label, max(d.score, guess.probability), d.box)
            if d.label == guess.kind
            else d
            for d in detections
        ]
    if has_text:
        return detections
    return [*detections, Detection(guess.kind, guess.probability, _WHOLE)]
