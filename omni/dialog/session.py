"""A conversation without I/O: sound, pictures, words and commands in; events and chunks out.

Joins the two halves, listening and replying, and decides who has the floor. The driver feeds it,
ticks it every 20 ms, and drains `events()` and `chunks()` after every call.
"""

from dataclasses import dataclass, replace
from typing import Literal

from omni.clock import Clock
from omni.config import OmniConfig
from omni.dialog.history import History, with_text
from omni.dialog.listening import Listening
from omni.dialog.options import SessionOptions
from omni.dialog.outbox import Outbox
from omni.dialog.reply import ReplyOptions
from omni.dialog.replying import Replying
from omni.dialog.sight import Sight
from omni.dialog.turn import Turn
from omni.errors import ProtocolError
from omni.events import (
    Event,
    Failed,
    InputCommitted,
    Item,
    ItemAdded,
    ItemDeleted,
    ItemDone,
    ItemRetrieved,
    ItemTruncated,
    Part,
    TranscriptDone,
)
from omni.types import (
    Activity,
    Chunk,
    Heard,
    Message,
    Prompt,
    Samples,
    Seen,
    Speech,
    SpeechOptions,
    StageReport,
    Token,
    TurnHint,
)


@dataclass(frozen=True, slots=True, eq=False)
class ResponseRequest:
    """A client's wish for a reply; what is None is as the session's options say."""

    instructions: str | None = None
    modality: Literal["audio", "text"] | None = None
    voice: str | None = None
    max_output_tokens: int | None = None
    metadata: dict[str, str] | None = None


class Session:
    """Args:
    session_id: names it in every chunk.
    options: what the client asked for.
    config: the server's profile.
    clock: for deadlines and latency figures.
    """

    def __init__(
        self, session_id: str, options: SessionOptions, config: OmniConfig, clock: Clock
    ) -> None:
        self.session_id = session_id
        self._config = config
        self._out = Outbox(session_id, clock)
        self._history = History(config.turn.overlap.marker)
        self._replying = Replying(self._out, self._history, config)
        self._listening = Listening(self._out, self, self._replying.voice, config, options)
        self._sight = Sight(self._out, config.brain.see)
        self._wanted: ResponseRequest | None = None  # asked for while words or sights are awaited
        self._warm_up()

    @property
    def options(self) -> SessionOptions:
        return self._listening.options

    def events(self) -> list[Event]:
        """What happened since the last call, in order."""
        return self._out.take_events()

    def chunks(self) -> list[Chunk]:
        """What is to be sent to the stages since the last call, in order."""
        return self._out.take_chunks()

    # ---- the world

    def feed(self, samples: Samples) -> None:
        """The user's sound: float32 [n] at 16 kHz, any n."""
        self._listening.feed(samples)

    def show(self, encoded: bytes, captured_ms: int | None = None) -> str:
        """A picture (JPEG, PNG or WebP) for the eyes; returns its id."""
        at_ms = self._listening.position_ms if captured_ms is None else captured_ms
        return self._sight.show(encoded, at_ms)

    def receive(self, chunk: Chunk) -> None:
        """Anything that a stage sent to the gateway."""
        match chunk:
            case Activity():
                self._listening.activity(chunk)
            case TurnHint():
                self._listening.hint(chunk)
            case Heard():
                self._listening.heard(chunk)
            case Token() | Speech():
                self._replying.receive(chunk)
            case Seen():
                self._sight.seen(chunk)
            case StageReport():
                self._stage_report(chunk)

    def tick(self) -> None:
        """Time has passed: release sound, check deadlines. Every 20 ms."""
        self._listening.tick()
        self._replying.tick()
        if self._wanted and not self._is_awaiting and not self._replying.is_active:
            wanted, self._wanted = self._wanted, None
            self.respond(wanted)
        if self._sight.has_notice and self._listening.turn is None and self._replying.is_idle:
            self._replying.announce(self._sight.take_notice(), self._reply_options())

    # ---- the client

    def update(self, options: SessionOptions) -> None:
        """Adopt new options; they hold from the next reply on."""
        has_new_instructions = options.instructions != self.options.instructions
        self._listening.configure(options)
        if has_new_instructions:
            self._warm_up()

    def commit(self) -> None:
        """End the user's turn here (push-to-talk). Raises ProtocolError if it is empty."""
        self._listening.commit()

    def clear_input(self) -> None:
        self._listening.clear()

    def add_item(self, item: Item, previous_item_id: str | None = None) -> None:
        """Insert an item that the client made. Raises ProtocolError for a bad place or id."""
        item = replace(item, item_id=item.item_id or self._out.new_id("item"))
        previous = self._history.add(item, previous_item_id)
        self._out.emit(ItemAdded(item, previous))
        self._out.emit(ItemDone(item, previous))
        self._sight.look_at(item, self._listening.position_ms)

    def retrieve_item(self, item_id: str) -> None:
        self._out.emit(ItemRetrieved(self._history.get(item_id)))

    def delete_item(self, item_id: str) -> None:
        self._history.delete(item_id)
        self._out.emit(ItemDeleted(item_id))

    def truncate_item(self, item_id: str, audio_end_ms: int) -> None:
        """The client says how much of a reply was heard; later than the end means all of it.

        A reply that is still being spoken ends by this. Our own ledger decides on the words: they
        were cut when the reply was interrupted, and can only become fewer.
        """
        item = self._history.get(item_id, "item_truncate_invalid_item_id")
        if item.role != "assistant":
            raise ProtocolError("only a reply's audio can be truncated", "unsupported_content_type",
                                "item_id")  # fmt: skip
        if audio_end_ms <= 0:
            self._history.replace(with_text(item, "", "incomplete"))
        self._out.emit(ItemTruncated(item_id, max(0, audio_end_ms)))

    def respond(self, request: ResponseRequest) -> None:
        """Make a reply now. Raises ProtocolError if one is being made already."""
        if self._replying.is_active:
            raise ProtocolError(
                f"conversation already has an active response: {self._replying.response_id}",
                "conversation_already_has_active_response",
            )
        if self._is_awaiting:
            self._wanted = request
            return
        self._sight.heed(self._history.last(), self._history)
        self._replying.interrupt("client_cancelled")  # a held one gives way
        now_ms = self._out.clock.now_ms()
        self._begin(request, self._messages(request.instructions), now_ms)
        self._replying.release()

    def cancel(self, response_id: str | None = None) -> None:
        """Stop the active reply. Raises ProtocolError if there is none (of that id)."""
        active = self._replying.response_id
        if active is None or response_id not in (None, active):
            raise ProtocolError(
                "Cancellation failed: no active response found", "response_cancel_not_active"
            )
        self._replying.interrupt("client_cancelled")

    def clear_output(self) -> None:
        """Silence now: whatever is queued or being made of a reply is dropped."""
        self._replying.interrupt("client_cancelled")

    # ---- Listener: what the user's voice does

    def on_began(self) -> None:
        self._sight.began()
        detection = self.options.turn_detection
        if detection and detection.interrupts_response:
            self._replying.interrupt("turn_detected")

    def on_likely_end(self, turn: Turn) -> None:
        detection = self.options.turn_detection
        if detection and detection.creates_response and not self._replying.is_active:
            words = " ".join(filter(None, (turn.text, self._sight.aside(turn.text or ""))))
            messages = (*self._messages(None), Message("user", words))
            self._begin(ResponseRequest(), messages, turn.speech_end_ms)

    def on_resumed(self) -> None:
        if self._replying.is_held:
            self._replying.interrupt("turn_detected")

    def on_committed(self, turn: Turn) -> None:
        part = Part("input_audio", audio_ms=int(turn.duration_s * 1000))
        item = Item(turn.item_id, "message", "user", parts=(part,))
        previous = self._history.add(item)
        self._out.emit(InputCommitted(turn.item_id, previous))
        self._out.emit(ItemAdded(item, previous))

    def on_turn(self, turn: Turn) -> None:
        if not turn.is_manual:
            if not turn.text:  # a noise
                self._drop_held()
                return
            self.on_committed(turn)
        text = turn.text or ""
        item = with_text(self._history.get(turn.item_id), text, "completed")
        previous = self._history.replace(item)
        self._out.emit(TranscriptDone(turn.item_id, text, turn.language, turn.duration_s))
        self._out.emit(ItemDone(item, previous))
        self._sight.heed(item, self._history)
        self._answer(turn)

    # ---- inside

    def _answer(self, turn: Turn) -> None:
        detection = self.options.turn_detection
        wanted, self._wanted = self._wanted, None
        if self._replying.is_held:
            self._replying.release()
            return
        is_due = detection and detection.creates_response and not turn.is_manual
        if (wanted or is_due) and not self._replying.is_active:
            request = wanted or ResponseRequest()
            self._begin(request, self._messages(request.instructions), turn.speech_end_ms)
            self._replying.release()

    def _drop_held(self) -> None:
        if self._replying.is_held:
            self._replying.interrupt("turn_detected")

    @property
    def _is_awaiting(self) -> bool:
        return self._listening.is_awaiting_words or self._sight.is_awaited

    def _messages(self, instructions: str | None) -> tuple[Message, ...]:
        budget = self._config.brain.think.context_tokens - self.options.max_output_tokens
        return self._history.messages(instructions or self.options.instructions, budget)

    def _begin(
        self, request: ResponseRequest, messages: tuple[Message, ...], speech_end_ms: float
    ) -> None:
        self._replying.begin(messages, self._reply_options(request), speech_end_ms)

    def _reply_options(self, request: ResponseRequest = ResponseRequest()) -> ReplyOptions:
        options = self.options
        return ReplyOptions(
            request.modality or options.modality,
            SpeechOptions(request.voice or options.voice, options.speed),
            request.max_output_tokens or options.max_output_tokens,
            options.temperature,
            request.metadata,
        )

    def _warm_up(self) -> None:
        """Let the core take in the context there is, before anybody waits for it."""
        messages = self._messages(None)
        self._out.send(Prompt(*self._out.stamp, "", messages, 0, 0.0, None))

    def _stage_report(self, report: StageReport) -> None:
        if report.stage == "hear" and report.state == "restored":
            self._listening.ask_again()
        elif report.stage == "hear" and report.state == "failed":
            self._listening.give_up("stage_failed", "your words could not be recognised")
        elif report.stage in ("think", "speak"):
            self._replying.stage_report(report)
        elif report.state == "failed":
            self._sight.give_up()
            self._out.emit(Failed("stage_failed", report.message or f"{report.stage} failed"))
