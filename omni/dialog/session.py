"""A conversation without I/O: sound, pictures, words and commands in; events and chunks out.

Joins the two halves, listening and replying, and decides who has the floor. The driver feeds it,
ticks it every 20 ms, and drains `events()` and `chunks()` after every call.
"""

from dataclasses import replace

from omni.clock import Clock
from omni.config import OmniConfig
from omni.dialog.answering import Answering, ResponseRequest
from omni.dialog.base_session import BaseSession
from omni.dialog.dictation import Dictation
from omni.dialog.heard_items import HeardItems
from omni.dialog.history import History
from omni.dialog.idling import Idling
from omni.dialog.listening import Listening
from omni.dialog.options import SessionOptions
from omni.dialog.outbox import Outbox
from omni.dialog.replying import Replying
from omni.dialog.sight import Sight
from omni.dialog.turn import Turn
from omni.dialog.waiting import Waiting
from omni.errands import Result
from omni.events import (
    Failed,
    InputCleared,
    Item,
)
from omni.types import (
    Activity,
    Called,
    Chunk,
    Heard,
    Samples,
    Seen,
    Speech,
    StageReport,
    Token,
    TurnHint,
)


class Session(BaseSession):
    """Args:
    session_id: names it in every chunk.
    options: what the client asked for.
    config: the server's profile.
    clock: for deadlines and latency figures.
    """

    def __init__(
        self, session_id: str, options: SessionOptions, config: OmniConfig, clock: Clock
    ) -> None:
        super().__init__(
            Outbox(session_id, clock, config.server), History(config.turn.overlap.marker)
        )
        self._replying = Replying(self._out, self._history, config)
        self._listening = Listening(self._out, self, self._replying.voice, config, options)
        self._sight = Sight(self._out, config.brain.see)
        self._heard = HeardItems(self._out, self._history)
        self._dictation = Dictation(self._out, self._history, config.deadlines.recognise_s)
        self._dictation.language = options.language
        self._idling = Idling()
        self._answering = Answering(self._out, self._history, self._replying, self._sight, config)
        self._answering.options, self._dictation.language = options, options.language
        self._remote = self._replying.remote
        self._remote.on_listed = self._answering.warm_up
        self._remote.configure(options.tools.servers)
        self._waiting = Waiting(clock, config.tools, self._remote, self._answering)
        self._answering.warm_up()

    @property
    def options(self) -> SessionOptions:
        return self._listening.options

    # ---- the world

    def feed(self, samples: Samples) -> None:
        """The user's sound: float32 [n] at 16 kHz, any n."""
        self._listening.feed(self._replying.voice.clean(samples))

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
                if item := self._dictation.heard(chunk):
                    self._sight.heed(item, self._history)
            case Token() | Called() | Speech():
                self._replying.receive(chunk)
                self._answering.asides.receive(chunk)
            case Seen():
                self._sight.seen(chunk)
            case StageReport():
                self._stage_report(chunk)

    def learn(self, result: Result) -> None:
        """What came of an errand."""
        self._remote.receive(result)

    def tick(self) -> None:
        """Time has passed: release sound, check deadlines. Every 20 ms."""
        self._listening.tick()
        self._dictation.tick()
        self._replying.tick()
        self._answering.tick(is_awaiting=self._is_awaiting)
        self._answering.watch_asides(is_silent=self._listening.turn is None)
        self._watch_silence()
        self._out.watch_time()
        if self._is_free and self._sight.has_notice:
            self._answering.announce(self._sight.take_notice())
        self._waiting.tick(is_free=self._is_free)

    # ---- the client

    def update(self, options: SessionOptions) -> None:
        """Adopt new options; they hold from the next reply on."""
        before = self.options
        self._listening.configure(options)
        self._answering.options, self._dictation.language = options, options.language
        self._remote.configure(options.tools.servers)
        if options.instructions != before.instructions or options.tools is not before.tools:
            self._answering.warm_up()

    def commit(self) -> None:
        """End the user's turn here (push-to-talk). Raises ProtocolError if it is empty."""
        self._listening.commit()

    def clear_input(self) -> None:
        self._listening.clear()

    def add_item(self, item: Item, previous_item_id: str | None = None) -> None:
        """Insert an item that the client made. Raises ProtocolError for a bad place or id."""
        if item.kind == "mcp_approval_response":
            self._remote.check_answer(item)
        item = self._editing.add(item, previous_item_id)
        self._remote.own_answer(item.call_id)
        if item.kind == "mcp_approval_response":
            self._remote.take_answer(item)
        self._sight.look_at(item, self._listening.position_ms)
        for index, part in enumerate(item.parts):
            if part.samples is not None:
                self._dictation.take(item, index, part.samples, is_last=False)

    def respond(self, request: ResponseRequest) -> None:
        """Make a reply now, or beside the conversation as soon as there is room. Raises
        ProtocolError if one is being made already."""
        if request.is_in_conversation:
            self._waiting.user_spoke()
        if request.context is not None:
            request = replace(request, context=tuple(map(self._taken_in, request.context)))
        self._answering.respond(request, is_awaiting=self._is_awaiting)

    def cancel(self, response_id: str | None = None) -> None:
        """Stop the active reply. Raises ProtocolError if there is none (of that id)."""
        self._answering.cancel(response_id)

    def clear_output(self) -> None:
        """Silence now: whatever is queued or being made of a reply is dropped."""
        self._replying.interrupt("client_cancelled")

    # ---- Listener: what the user's voice does

    def on_began(self) -> None:
        self._sight.began()
        detection = self.options.turn_detection
        if detection and detection.interrupts_response:
            self._replying.interrupt("turn_detected")
            self._answering.asides.hush()

    def on_likely_end(self, turn: Turn) -> None:
        self._answering.prepare(turn)

    def on_resumed(self) -> None:
        self._answering.drop_held()

    def on_committed(self, turn: Turn, samples: Samples) -> None:
        self._answering.drop_held()
        self._waiting.user_spoke()
        self._dictation.take(self._heard.commit(turn), 0, samples, is_last=True)

    def on_lost(self, turn: Turn, code: str, message: str) -> None:
        self._answering.drop_held()
        self._heard.commit(turn)
        self._heard.lose(turn, code, message)

    def on_turn(self, turn: Turn) -> None:
        if not turn.text:  # a noise: its sound is thrown away, and the client is told so
            self._answering.drop_held()
            self._out.emit(InputCleared())
            return
        self._heard.commit(turn)
        if item := self._heard.complete(turn):
            self._sight.heed(item, self._history)
            self._waiting.user_spoke()
            self._answering.answer(turn)

    # ---- inside

    def _watch_silence(self) -> None:
        detection = self.options.turn_detection
        if not self._replying.is_idle:
            self._idling.spoke()
        elif self._listening.turn or self._is_awaiting:
            self._idling.interrupted()
        else:
            limit_ms = detection.idle_timeout_ms if detection else None
            if span := self._idling.silent(self._listening.position_ms, limit_ms):
                self._heard.commit_silence(*span)
                self._answering.answer_silence()

    def _taken_in(self, item: Item) -> Item:
        """An item of a reply's own context, with its pictures looked at and an id to note it by."""
        if self._history.has(item.item_id):
            return item
        item = replace(item, item_id=self._out.new_id("item"))
        self._sight.look_at(item, self._listening.position_ms)
        return item

    def _end_reply_of(self, item_id: str) -> None:
        if self._replying.item_id == item_id:
            self._replying.interrupt("client_cancelled")

    @property
    def _is_awaiting(self) -> bool:
        is_awaited = self._sight.is_awaited or self._remote.is_listing
        return self._listening.is_awaiting_words or self._dictation.is_awaited or is_awaited

    @property
    def _is_free(self) -> bool:
        """Nobody speaks, and nobody is about to."""
        is_owed = self._answering.is_owing or self._is_awaiting
        return self._listening.turn is None and self._replying.is_idle and not is_owed

    def _stage_report(self, report: StageReport) -> None:
        if report.stage == "hear" and report.state == "restored":
            self._listening.ask_again()
            self._dictation.repeat()
        elif report.stage == "hear" and report.state == "failed":
            self._listening.give_up("stage_failed", "your words could not be recognised")
            self._dictation.give_up("stage_failed", "the words could not be recognised")
        elif report.stage in ("think", "speak"):
            self._replying.stage_report(report)
            self._answering.asides.stage_report(report)
        elif report.state == "failed":
            self._sight.give_up()
            self._out.emit(Failed("stage_failed", report.message or f"{report.stage} failed"))
