"""A conversation whose model hears and sees for itself, and answers when we say so.

Our endpointing finds the user's turns; the model reads them while they are spoken, and is asked
for an answer at their end. Laws: the model's context holds of an answer what was heard of it; one
answer at a time; whatever stage fails, the context begins anew.
"""

import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, Literal

from omni.clock import Clock
from omni.config import OmniConfig
from omni.dialog.allowance import RATE_LIMITED
from omni.dialog.answering import ResponseRequest
from omni.dialog.base_session import BaseSession
from omni.dialog.duplex_listening import DuplexListening
from omni.dialog.heard_items import HeardItems
from omni.dialog.history import History
from omni.dialog.options import SessionOptions
from omni.dialog.outbox import Outbox
from omni.dialog.reading import Reading
from omni.dialog.reply import ReplyOptions
from omni.dialog.replying import Replying
from omni.dialog.turn import RATE_HZ, Turn
from omni.dialog.turn_units import TurnUnits
from omni.errors import ProtocolError
from omni.events import Failed, Item
from omni.types import (
    Activity,
    Chunk,
    JudgeTurn,
    Samples,
    Speech,
    SpeechOptions,
    StageReport,
    Token,
    TurnHint,
)
from omni.units import VOICE_UNUSABLE, Respond, TakeBack, TurnRead

MIN_COMMIT_SAMPLES: Final = RATE_HZ // 10
JUDGED_SAMPLES: Final = 8 * RATE_HZ
TAIL_SAMPLES: Final = RATE_HZ // 5  # of the silence after a turn, heard with it


class HalfDuplexSession(BaseSession):
    """Args:
    session_id: names it in every chunk.
    options: what the client asked for.
    config: the server's profile.
    clock: for deadlines and latency figures.
    """

    def __init__(
        self, session_id: str, options: SessionOptions, config: OmniConfig, clock: Clock
    ) -> None:
        self._config = config
        super().__init__(
            Outbox(session_id, clock, config.server), History(config.turn.overlap.marker)
        )
        self._replying = Replying(self._out, self._history, config)
        voice = self._replying.voice
        self._listening = DuplexListening(self._out, self, voice, config, options)
        self._heard = HeardItems(self._out, self._history)
        self._units = TurnUnits()
        seed = config.brain.duplex.seed
        seed = zlib.crc32(session_id.encode()) if seed is None else seed
        self._reading = Reading(self._out, config, options, seed)
        self._last = ("", "")  # the reply made last, and its item
        self._owed: deque[tuple[ResponseRequest, float]] = deque(maxlen=1)  # and since when

    @property
    def options(self) -> SessionOptions:
        return self._listening.options

    # ---- the world

    def feed(self, samples: Samples) -> None:
        """The user's sound: float32 [n] at 16 kHz, any n."""
        self._listening.feed(samples)
        self._units.feed(samples)
        self._read(self._units.whole())

    def show(self, encoded: bytes, captured_ms: int | None = None) -> str:
        """A picture (JPEG, PNG or WebP) for the eyes; returns its id."""
        at_ms = self._listening.position_ms if captured_ms is None else captured_ms
        return self._reading.show(encoded, at_ms)

    def receive(self, chunk: Chunk) -> None:
        """Anything that a stage sent to the gateway."""
        match chunk:
            case Activity():
                self._listening.activity(chunk)
                self._follow()
            case TurnHint():
                if (turn := self._listening.turn) and turn.item_id == chunk.turn_id:
                    self._listening.hint(chunk)
            case Token() | Speech():
                self._replying.receive(chunk)
            case TurnRead():
                self._reading.was_read(chunk)
            case StageReport():
                self._stage_report(chunk)

    def tick(self) -> None:
        """Time has passed: release sound, check deadlines. Every 20 ms."""
        self._replying.tick()
        turn, limit_s = self._listening.turn, self._config.turn.max_turn_s
        if turn and self._units.position - turn.start_sample > limit_s * RATE_HZ:
            self._listening.end()
        if self._owed and not self._replying.is_active:
            self._answer(*self._owed.popleft())
        self._out.watch_time()

    # ---- the client

    def update(self, options: SessionOptions) -> None:
        """Adopt new options; new instructions or a new voice begin a new context."""
        self._listening.configure(options)
        self._reading.options = options

    def commit(self) -> None:
        """End the user's turn here (push-to-talk). Raises ProtocolError if it is empty."""
        if self._units.num_uncommitted < MIN_COMMIT_SAMPLES and not self._units.is_open:
            message = "the input audio buffer holds less than 100 ms of audio"
            raise ProtocolError(message, "input_audio_buffer_commit_empty")
        start = self._units.position - self._units.num_uncommitted
        turn = self._listening.stop() or Turn(self._out.new_id("item"), start)
        self._finish(replace(turn, end_sample=self._units.position))

    def clear_input(self) -> None:
        self._units.end()
        self._listening.clear()

    def add_item(self, item: Item, previous_item_id: str | None = None) -> None:
        """Insert an item; the user's words, sounds and pictures are read at once."""
        item = self._editing.add(item, previous_item_id)
        if item.role == "user":
            self._reading.item(item, self._listening.position_ms)

    def truncate_item(self, item_id: str, audio_end_ms: int) -> None:
        super().truncate_item(item_id, audio_end_ms)
        if item_id == self._last[1]:
            self._take_back()

    def respond(self, request: ResponseRequest) -> None:
        """Answer what has been read. Raises ProtocolError if an answer is being made, or if one
        beside the conversation is wanted."""
        if not request.is_in_conversation or request.context is not None:
            raise ProtocolError("this model answers within its conversation alone")
        if self._replying.is_active or self._owed:
            raise ProtocolError(
                f"conversation already has an active response: {self._replying.response_id}",
                "conversation_already_has_active_response",
            )
        self._answer(request, self._out.clock.now_ms())

    def cancel(self, response_id: str | None = None) -> None:
        """Stop the active reply. Raises ProtocolError if there is none (of that id)."""
        self._owed.clear()
        active = self._replying.response_id
        if active is None or response_id not in (None, active):
            raise ProtocolError(
                "Cancellation failed: no active response found", "response_cancel_not_active"
            )
        self._interrupt("client_cancelled")

    def clear_output(self) -> None:
        """Silence now: whatever is queued or being made of a reply is dropped."""
        self._interrupt("client_cancelled")

    # ---- Owner: what the user's voice does

    def on_interrupt(self) -> None:
        self._interrupt("turn_detected")

    def on_pause(self) -> None:
        if (turn := self._listening.turn) is None:
            return
        self._follow()
        if self._config.brain.duplex.early_close_ms:
            self._read(self._units.until(self._units.position))
        samples = self._units.last(min(JUDGED_SAMPLES, self._units.position - turn.start_sample))
        self._out.send(JudgeTurn(*self._out.stamp, turn.item_id, samples, self._units.position))

    def on_spoken(self, turn: Turn) -> None:
        self._finish(turn)
        detection = self.options.turn_detection
        if detection and detection.creates_response:
            self._owed.append((ResponseRequest(), self._listening.speech_end_ms))
            self.tick()

    # ---- inside

    def _follow(self) -> None:
        """Read the user's turn as far as it has been spoken."""
        detection = self.options.turn_detection
        if turn := self._listening.turn:
            padding_ms = detection.prefix_padding_ms if detection else 0
            self._units.begin(turn.start_sample - padding_ms * RATE_HZ // 1000)
            self._read(self._units.whole())

    def _read(self, seconds: Iterable[Samples]) -> None:
        for second in seconds:
            self._reading.sound(second)

    def _finish(self, turn: Turn) -> None:
        """The turn is over, and read to its end."""
        self._units.begin(turn.start_sample)
        self._read(self._units.until(turn.end_sample + TAIL_SAMPLES))
        self._units.end()
        self._heard.commit_unwritten(turn)

    def _answer(self, request: ResponseRequest, speech_end_ms: float) -> None:
        options = self.options
        reply = ReplyOptions(
            request.modality or options.modality,
            SpeechOptions(request.voice or options.voice, options.speed),
            request.max_output_tokens or options.max_output_tokens,
            options.temperature,
            request.metadata,
        )
        if refusal := self._out.allowance.refusal:
            self._replying.fail(reply, RATE_LIMITED, refusal)
            return
        self._reading.begin()
        response_id = self._replying.begin_unasked(reply, speech_end_ms)
        self._last = (response_id, self._replying.item_id or "")
        is_spoken = reply.modality == "audio"
        self._out.send(
            Respond(*self._out.stamp, response_id, options.is_thinking, is_spoken, reply.max_tokens)
        )

    def _interrupt(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        self._owed.clear()
        if self._replying.is_idle:
            return
        self._replying.interrupt(reason)
        self._take_back()

    def _take_back(self) -> None:
        """The model is to remember of its last answer what was heard."""
        response_id, item_id = self._last
        heard = self._history.get(item_id).text
        self._out.send(TakeBack(*self._out.stamp, response_id, heard))

    def _end_reply_of(self, item_id: str) -> None:
        if self._replying.item_id == item_id:
            self._interrupt("client_cancelled")

    def _stage_report(self, report: StageReport) -> None:
        """Whatever the model knew is lost with the stage that knew it: begin anew."""
        if report.stage == "vad" or (report.stage, report.state) == ("see", "restored"):
            return
        if (report.stage, report.state) == ("see", "failed") or report.code == VOICE_UNUSABLE:
            self._out.emit(Failed(report.code or "stage_failed", report.message or "see failed"))
            return  # the model goes on without
        message = report.message or f"{report.stage} {report.state}"
        self._replying.stage_report(StageReport(*self._out.stamp, "think", "failed", message))
        self._out.raise_epoch()
        self._reading.restart()
        if report.state != "restored":
            self._out.emit(Failed("stage_failed", f"the model begins anew: {message}"))
