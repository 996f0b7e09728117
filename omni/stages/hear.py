"""Words out of sound, for many sessions on one recogniser.

Hides what is worth recognising: of a turn only its latest request, finished turns before others.
Law: nothing is kept between requests but the last hypothesis of a turn, whose agreement with the
next one makes its words stable.
"""

from collections.abc import Sequence
from pathlib import Path

from omni.errors import OmniError
from omni.models.embedded.whisper import Transcript, Whisper, stable_prefix
from omni.types import Chunk, Heard, Recognise, StageName, StageReport


class HearStage:
    """Args:
    folder: the recogniser's files.
    num_threads: cores one recognition may use.
    context_s: length of the encoder's window, at least.
    """

    name: StageName = "hear"

    def __init__(self, folder: Path, num_threads: int, context_s: float) -> None:
        self._folder = folder
        self._num_threads = num_threads
        self._context_s = context_s
        self._waiting: dict[tuple[str, str], Recognise] = {}  # by session and turn
        self._last: dict[str, Heard] = {}

    def load(self) -> None:
        self._whisper = Whisper(self._folder, self._num_threads)
        self._whisper.warm_up()

    def open(self, session_id: str) -> None:
        """Nothing to prepare: requests carry all they need."""

    def close(self, session_id: str) -> None:
        self._waiting = {key: r for key, r in self._waiting.items() if key[0] != session_id}
        self._last.pop(session_id, None)

    def has_work(self) -> bool:
        return bool(self._waiting)

    def step(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        for chunk in chunks:
            if isinstance(chunk, Recognise):
                self._accept(chunk)
        if not self._waiting:
            return []
        chosen = min(self._waiting.values(), key=lambda request: not request.is_final)
        del self._waiting[_key(chosen)]
        try:
            return [self._recognise(chosen)]
        except OmniError as error:
            stamp = (chosen.session_id, chosen.epoch, chosen.unit_index)
            return [StageReport(*stamp, "hear", "failed", error.message, error.code)]

    def _accept(self, request: Recognise) -> None:
        """A finished turn is always recognised; of unfinished ones only the latest."""
        unfinished = (request.session_id, "")
        if unfinished in self._waiting and self._waiting[unfinished].turn_id == request.turn_id:
            del self._waiting[unfinished]
        self._waiting[_key(request)] = request

    def _recognise(self, request: Recognise) -> Heard:
        before = self._last.get(request.session_id)
        last = before if before and before.turn_id == request.turn_id else None
        likely = before.language if before and before.text else None
        prefix = last.stable if last else ""
        transcript = self._transcribe(request, likely, prefix)
        if prefix and not transcript.text:  # too few new words to tell speech from noise by
            transcript = self._transcribe(request, likely, "")
        stable = ""
        if last:
            agreed = stable_prefix(last.text, transcript.text)
            stable = agreed if len(agreed) > len(last.stable) else last.stable
        heard = Heard(
            request.session_id,
            request.epoch,
            request.unit_index,
            request.turn_id,
            request.end_sample,
            transcript.text or stable,
            stable,
            transcript.language,
            request.is_final,
            transcript.translation,
        )
        self._last[request.session_id] = heard
        return heard

    def _transcribe(self, request: Recognise, likely: str | None, prefix: str) -> Transcript:
        return self._whisper.transcribe(
            request.samples,
            language=request.language,
            likely_language=likely,
            prefix=prefix,
            context_s=self._context_s,
            translate_to=request.translate_to,
        )


def _key(request: Recognise) -> tuple[str, str]:
    return request.session_id, request.turn_id if request.is_final else ""
