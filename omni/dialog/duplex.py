"""A conversation whose model hears, sees and decides for itself, once a second.

Cuts units, and makes replies of what the model says in them; the model is stopped by a forced
listen. Laws: what is said after an interruption belongs to no reply before it; a reply begins when
the one before it has been released; whatever stage fails, the context begins anew.
"""

import zlib
from collections import deque
from typing import Final, Literal

from omni.clock import Clock
from omni.config import OmniConfig
from omni.dialog.answering import ResponseRequest
from omni.dialog.base_session import BaseSession
from omni.dialog.duplex_listening import DuplexListening
from omni.dialog.duplex_replies import DuplexReplies, Wish
from omni.dialog.duplex_units import CutUnit, Units
from omni.dialog.heard_items import HeardItems
from omni.dialog.history import History
from omni.dialog.options import SessionOptions
from omni.dialog.outbox import Outbox
from omni.dialog.reply import ReplyOptions
from omni.dialog.turn import Turn
from omni.errors import ProtocolError
from omni.events import Failed, Item, PictureSeen, UnitDone
from omni.types import Activity, Chunk, Samples, Speech, SpeechOptions, StageName, StageReport
from omni.units import VOICE_UNUSABLE, BeginContext, Chosen, UnitPictures, UnitPlan, UnitSound

_UNIT_MS: Final = 1000


class DuplexSession(BaseSession):
    """Args:
    session_id: names it in every chunk.
    options: what the client asked for.
    config: the server's profile.
    clock: for deadlines and latency figures.
    slot: where in the second its units should end, 0..1; None lets them be.
    """

    def __init__(
        self,
        session_id: str,
        options: SessionOptions,
        config: OmniConfig,
        clock: Clock,
        slot: float | None = None,
    ) -> None:
        self._config = config.brain.duplex
        super().__init__(
            Outbox(session_id, clock, config.server), History(config.turn.overlap.marker)
        )
        self._replies = DuplexReplies(self._out, self._history, config)
        voice = self._replies.voice
        self._listening = DuplexListening(self._out, self, voice, config, options)
        self._heard = HeardItems(self._out, self._history)
        self._units = Units(self._config, None if slot is None else slot * _UNIT_MS)
        seed = self._config.seed
        self._seed = zlib.crc32(session_id.encode()) if seed is None else seed
        self._begun: SessionOptions | None = None  # what the model's context began with
        self._is_cut = False  # the next unit must listen
        self._written: list[str] = []  # by the user, for the next unit
        self._pictures: deque[tuple[str, bytes, int]] = deque(maxlen=self._config.num_pictures)
        self._shown: dict[int, tuple[tuple[str, int], ...]] = {}  # pictures of units under way
        self._is_late_told = False
        self._lost: set[StageName] = set()  # those that are being started again

    @property
    def options(self) -> SessionOptions:
        return self._listening.options

    # ---- the world

    def feed(self, samples: Samples) -> None:
        """The user's sound: float32 [n] at 16 kHz, any n."""
        samples = self._replies.voice.clean(samples)
        self._listening.feed(samples)
        self._units.feed(samples, self._out.clock.now_ms())
        self._send_units()

    def show(self, encoded: bytes, captured_ms: int | None = None) -> str:
        """A picture (JPEG, PNG or WebP) for the eyes; returns its id."""
        at_ms = self._listening.position_ms if captured_ms is None else captured_ms
        picture_id = self._out.new_id("pic")
        self._pictures.append((picture_id, encoded, at_ms))
        return picture_id

    def receive(self, chunk: Chunk) -> None:
        """Anything that a stage sent to the gateway."""
        took_ms = self._units.out_after_ms(chunk, self._out.clock.now_ms())
        if took_ms is not None:
            self._out.emit(UnitDone(took_ms))
        match chunk:
            case Activity():
                self._listening.activity(chunk)
            case Chosen():
                self._chosen(chunk)
            case Speech():
                self._replies.take(chunk, self._wish)
            case StageReport():
                self._stage_report(chunk)

    def tick(self) -> None:
        """Time has passed: release sound, keep the beat. Every 20 ms."""
        self._replies.tick(self._wish)
        if self._units.is_overdue(self._out.clock.now_ms()):
            self._begin_anew("stage_timeout", "the model took too long")
        self._send_units()
        self._out.watch_time()

    # ---- the client

    def update(self, options: SessionOptions) -> None:
        """Adopt new options; new instructions or a new voice begin a new context."""
        self._listening.configure(options)

    def commit(self) -> None:
        """Raises ProtocolError: this model takes in what it hears at once."""
        raise ProtocolError("this model hears everything as it comes: nothing is to be committed")

    def clear_input(self) -> None:
        self._units.clear()
        self._listening.clear()

    def add_item(self, item: Item, previous_item_id: str | None = None) -> None:
        """Insert an item; the user's words and pictures are read with the next unit."""
        item = self._editing.add(item, previous_item_id)
        if item.role != "user":
            return
        if item.text:
            self._written.append(item.text)
        for part in item.parts:
            if part.image is not None:
                self.show(part.image)
        self._units.start(self._out.clock.now_ms())

    def respond(self, request: ResponseRequest) -> None:
        """What was written is read with the next unit; whether it answers is the model's choice.
        Raises ProtocolError if nothing was."""
        if self._written:
            return
        raise ProtocolError("this model decides itself when to speak: responses are not asked for")

    def cancel(self, response_id: str | None = None) -> None:
        """Stop the active reply. Raises ProtocolError if there is none (of that id)."""
        active = self._replies.response_id
        if active is None or response_id not in (None, active):
            raise ProtocolError(
                "Cancellation failed: no active response found", "response_cancel_not_active"
            )
        self._force_listen("client_cancelled")

    def clear_output(self) -> None:
        """Silence now: whatever is queued or being made of a reply is dropped."""
        self._force_listen("client_cancelled")

    # ---- Owner: what the user's voice does

    def on_interrupt(self) -> None:
        self._force_listen("turn_detected")

    def on_pause(self) -> None:
        if not self._config.early_close_ms:
            return
        self._units.close_early(self._out.clock.now_ms())
        self._send_units()

    def on_spoken(self, turn: Turn) -> None:
        self._heard.commit_unwritten(turn)

    # ---- inside: units

    @property
    def _wish(self) -> Wish:
        """How a reply that begins now is to be made."""
        options = self.options
        speech = SpeechOptions(options.voice, options.speed)
        reply = ReplyOptions(options.modality, speech, options.max_output_tokens, 0.0)
        return Wish(reply, self._listening.speech_end_ms)

    def _send_units(self) -> None:
        if self._lost:  # nobody to hear it
            self._units.restart()
        while unit := self._units.take(self._out.clock.now_ms()):
            self._send(unit)
        if self._units.num_left_out and not self._is_late_told:
            self._is_late_told = True
            self._out.emit(Failed("unit_late", "the model is too slow: a second was not heard"))

    def _send(self, unit: CutUnit) -> None:
        self._out.unit_index = unit.index
        stamp, options = self._out.stamp, self.options
        if self._begun is None or (options.instructions, options.voice) != (
            self._begun.instructions,
            self._begun.voice,
        ):
            self._begun = options
            self._out.send(BeginContext(*stamp, options.instructions, options.voice, self._seed))
        pictures = list(self._pictures)
        if pictures:
            encoded, at_ms = tuple(p[1] for p in pictures), tuple(p[2] for p in pictures)
            self._out.send(UnitPictures(*stamp, encoded, at_ms))
            self._shown[unit.index] = tuple((p[0], p[2]) for p in pictures)
        num_answers = min(1, len(pictures)) if self._config.resampler == "3d" else len(pictures)
        is_forced = self._is_cut or self._listening.has_floor
        is_spoken = options.modality == "audio"
        text = "\n".join(self._written)
        self._out.send(UnitPlan(*stamp, num_answers, text, is_forced, is_spoken))
        self._out.send(UnitSound(*stamp, unit.samples))
        self._is_cut = False
        self._written.clear()
        self._pictures.clear()

    def _chosen(self, chosen: Chosen) -> None:
        self._units.answered(chosen.unit_index)
        self._is_late_told = False
        for picture_id, at_ms in self._shown.pop(chosen.unit_index, ()):
            self._out.emit(PictureSeen(picture_id, "", at_ms))
        if not chosen.is_listen or chosen.is_turn_end:
            self._replies.take(chosen, self._wish)
        self._send_units()

    def _force_listen(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        """Stop the model, which cannot stop by itself, and what it has said already."""
        self._replies.interrupt(reason)
        self._is_cut = True

    def _end_reply_of(self, item_id: str) -> None:
        if self._replies.item_id == item_id:
            self._force_listen("client_cancelled")

    # ---- inside: trouble

    def _stage_report(self, report: StageReport) -> None:
        if report.stage == "vad":
            return
        if report.stage == "see" or report.code == VOICE_UNUSABLE:  # the model goes on
            if report.state == "failed":
                self._out.emit(
                    Failed(report.code or "stage_failed", report.message or "see failed")
                )
            return
        if report.state == "restored":
            self._lost.discard(report.stage)
            self._begin_anew("", "")
            return
        if report.state == "lost":
            self._lost.add(report.stage)
        self._begin_anew("stage_failed", report.message or f"{report.stage} {report.state}")

    def _begin_anew(self, code: str, message: str) -> None:
        """What the model knew is lost with the stage that knew it: begin with the next second."""
        self._replies.fail(message)
        self._out.raise_epoch()
        self._units.restart()
        self._shown.clear()
        self._begun = None
        if code:
            self._out.emit(Failed(code, f"the model begins anew: {message}"))
