"""When and with what a reply is made: asked for by the client, or owed to the user's turn.

Laws: one reply of the conversation at a time; one that waits for words or sights is made as soon
as they are there.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Final, Literal

from omni.chat import Message
from omni.config import OmniConfig
from omni.dialog.allowance import RATE_LIMITED
from omni.dialog.asides import Asides
from omni.dialog.compaction import num_tokens
from omni.dialog.history import CHARS_PER_TOKEN, History
from omni.dialog.messages import UNANSWERED
from omni.dialog.options import default_options
from omni.dialog.outbox import Outbox
from omni.dialog.reply import ReplyOptions
from omni.dialog.replying import Replying
from omni.dialog.sight import Sight
from omni.dialog.tools import ToolChoice, ToolOptions
from omni.dialog.turn import Turn
from omni.errors import ProtocolError
from omni.events import Item
from omni.types import Prompt, SpeechOptions

TOO_LONG: Final = "The conversation is longer than the model's context, and truncation is disabled."


@dataclass(frozen=True, slots=True, eq=False)
class ResponseRequest:
    """A client's wish for a reply; what is None is as the session's options say.

    `context`: items to be shown to the core in the conversation's place, in the history or not.
    `words`: spoken as they are, the core is not asked.
    `tag`: whatever the asker wants to be told again with `ResponseStarted`.
    """

    instructions: str | None = None
    modality: Literal["audio", "text"] | None = None
    voice: str | None = None
    speed: float | None = None
    max_output_tokens: int | None = None
    tools: ToolOptions | None = None
    metadata: dict[str, str] | None = None
    context: tuple[Item, ...] | None = None
    is_in_conversation: bool = True
    words: str = ""
    tag: str = ""


class Answering:
    """Args:
    outbox: where events and chunks go.
    history: what the core is shown.
    replying: our voice.
    sight: what is put beside the user's words.
    config: the core's context.
    """

    def __init__(
        self,
        outbox: Outbox,
        history: History,
        replying: Replying,
        sight: Sight,
        config: OmniConfig,
    ) -> None:
        self._out = outbox
        self._history = history
        self._replying = replying
        self._sight = sight
        self._context_tokens = config.brain.think.context_tokens
        self._result_hint = config.tools.result_hint
        self._remote = replying.remote
        self._num_known = self._num_told = 0  # answers of tools: in the newest prompt, in a reply
        self._wanted: deque[ResponseRequest] = deque()  # asked for while something is awaited
        self.asides = Asides(outbox, config)
        self._wanted_aside: deque[ResponseRequest] = deque()
        self._has_lent_core = False  # it has forgotten the conversation over something beside it
        self.options = default_options(config)  # changeable; they hold from the next reply on

    def warm_up(self) -> None:
        """Let the core take in the context there is, before anybody waits for it."""
        messages = self._messages(None)
        tools = self._remote.offered(self.options.tools).offered
        self._out.send(Prompt(*self._out.stamp, "", messages, 0, 0.0, None, tools=tools))

    @property
    def is_owing(self) -> bool:
        """A reply was asked for, and waits for something."""
        return bool(self._wanted)

    @property
    def has_results(self) -> bool:
        """A server's tool has answered, and nobody was told yet."""
        return self._remote.num_results > self._num_told

    def tell_results(self, *, may_call: bool) -> None:
        """Go on from what the servers' tools have answered; that a tool must be called no more."""
        self._num_told = self._remote.num_results
        choice = ToolChoice("auto" if may_call else "none")
        self._respond(ResponseRequest(tools=replace(self.options.tools, choice=choice)))

    def watch_asides(self, *, is_silent: bool) -> None:
        """Let what is beside the conversation go on, as far as that leaves room."""
        is_silent = is_silent and self._replying.is_idle and not self._wanted
        self.asides.tick(is_core_free=not self._replying.needs_core, is_silent=is_silent)
        is_core_idle = not (self.asides.is_writing or self._replying.needs_core)
        if self._has_lent_core and is_core_idle and not self.asides.is_speaking:
            self._has_lent_core = False
            self.warm_up()

    def respond(self, request: ResponseRequest, *, is_awaiting: bool) -> None:
        """Make a reply: now, or when what is awaited is there, or, to a tool's answer, when the
        present one is over. Raises ProtocolError if one is being made already."""
        if not request.is_in_conversation:
            self._wanted_aside.append(request)
            self._begin_asides(is_awaiting=is_awaiting)
            return
        last = self._history.last()
        is_result = last is not None and last.kind == "function_call_output"
        if self._replying.is_active and is_result and not self._wanted:
            self._wanted.append(request)
            return
        if self._replying.is_active or self._wanted:
            raise ProtocolError(
                f"conversation already has an active response: {self._replying.response_id}",
                "conversation_already_has_active_response",
            )
        if is_awaiting or self.asides.is_speaking:
            self._wanted.append(request)
        else:
            self._respond(request)

    def cancel(self, response_id: str | None) -> None:
        """Stop the active reply. Raises ProtocolError if there is none (of that id)."""
        if response_id is not None and self.asides.cancel(response_id):
            return
        self._wanted.clear()
        active = self._replying.response_id
        if active is None or response_id not in (None, active):
            raise ProtocolError(
                "Cancellation failed: no active response found", "response_cancel_not_active"
            )
        self._replying.interrupt("client_cancelled")

    def tick(self, *, is_awaiting: bool) -> None:
        self._begin_asides(is_awaiting=is_awaiting)
        is_busy = is_awaiting or self._replying.is_active or self.asides.is_speaking
        if self._wanted and not is_busy:
            self._respond(self._wanted.popleft())

    def prepare(self, turn: Turn) -> None:
        """The user's turn may be over: begin a reply, to be held until it surely is."""
        detection = self.options.turn_detection
        is_free = not self._replying.is_active and not self._remote.is_listing
        is_due = detection and detection.creates_response and is_free
        if is_due and not self._fault():
            words = " ".join(filter(None, (turn.text, self._sight.aside(turn.text or ""))))
            self._begin(ResponseRequest(), self._messages(None, words), turn.speech_end_ms)

    def answer(self, turn: Turn) -> None:
        """The user's turn is over, and is in the history."""
        detection = self.options.turn_detection
        if self._replying.is_held:
            self._wanted.clear()
            self._release()
            return
        is_due = detection and detection.creates_response
        if is_due and not self._wanted:
            self._wanted.append(ResponseRequest())
        if self._wanted and not self._replying.is_active and not self._remote.is_listing:
            self._reply(self._wanted.popleft(), turn.speech_end_ms)

    def drop_held(
        self, reason: Literal["turn_detected", "client_cancelled"] = "turn_detected"
    ) -> None:
        """The turn was none, or goes on: what was prepared for it is void."""
        if self._replying.is_held:
            self._replying.interrupt(reason)

    def answer_silence(self) -> None:
        """The user has said nothing for so long that they are to be spoken to."""
        self._reply(ResponseRequest(), self._out.clock.now_ms())

    def announce(self, text: str) -> None:
        """Say something that nobody asked for just now."""
        options = self._reply_options(ResponseRequest())
        self._replying.recite(text, options, self._out.clock.now_ms())
        self._replying.release()

    def _respond(self, request: ResponseRequest) -> None:
        self._sight.heed(self._history.last(), self._history)
        self.drop_held("client_cancelled")  # the tail of one that is over is heard out
        self._reply(request, self._out.clock.now_ms())

    def _reply(self, request: ResponseRequest, speech_end_ms: float) -> None:
        if fault := self._fault():
            self._replying.fail(self._reply_options(request), *fault)
            return
        self._begin(request, self._context_of(request), speech_end_ms)
        self._release()

    def _release(self) -> None:
        self._num_told = self._num_known
        self._replying.release()

    @property
    def _room_tokens(self) -> int:
        """What the core has for instructions and conversation."""
        tools = self._remote.offered(self.options.tools)
        num_taken = tools.num_chars // CHARS_PER_TOKEN
        return self._context_tokens - self.options.max_output_tokens - num_taken

    def _messages(self, instructions: str | None, spoken: str = "") -> tuple[Message, ...]:
        said = instructions or self.options.instructions
        room_tokens = self._room_tokens
        self._history.fit(room_tokens - num_tokens(said), self.options.truncation)
        return self._history.messages(said, room_tokens, spoken=spoken)

    def _fault(self) -> tuple[str, str] | None:
        """Why no reply can be made now, as code and message: too many were, or the conversation
        does not fit and the client will not have it cut."""
        if refusal := self._out.allowance.refusal:
            return RATE_LIMITED, refusal
        options = self.options
        room_tokens = self._room_tokens - num_tokens(options.instructions)
        if options.truncation is None and not self._history.fit(room_tokens, None):
            return "context_length_exceeded", TOO_LONG
        return None

    def _messages_to_answer(self, instructions: str | None) -> tuple[Message, ...]:
        messages, hint = self._messages(instructions), self._result_hint
        is_answered = messages[-1].role == "tool" and messages[-1].text != UNANSWERED
        return (*messages, Message("system", hint)) if is_answered and hint else messages

    def _begin_asides(self, *, is_awaiting: bool) -> None:
        while self._wanted_aside and not is_awaiting:
            request = self._wanted_aside.popleft()
            # No servers' tools: their answers come when the reply is long forgotten.
            tools = request.tools or self.options.tools
            options = replace(self._reply_options(request), tools=tools, is_in_conversation=False)
            if refusal := self._out.allowance.refusal:
                self.asides.refuse(options, RATE_LIMITED, refusal)
                continue
            self.asides.begin(self._context_of(request), options)
            self._has_lent_core = True

    def _context_of(self, request: ResponseRequest) -> tuple[Message, ...]:
        if request.context is None:
            return self._messages_to_answer(request.instructions)
        for item in request.context:
            self._sight.brief(item, self._history)
        said = request.instructions or self.options.instructions
        return self._history.messages(said, self._room_tokens, request.context)

    def _begin(
        self, request: ResponseRequest, messages: tuple[Message, ...], speech_end_ms: float
    ) -> None:
        options = self._reply_options(request)
        self._num_known = self._remote.num_results
        must_call = options.tools.choice.mode == "required"
        said = self._sight.answer if request.context is None and not must_call else ""
        if said := request.words or said:
            self._replying.recite(said, options, speech_end_ms)
        else:
            self._replying.begin(messages, options, speech_end_ms)

    def _reply_options(self, request: ResponseRequest) -> ReplyOptions:
        options = self.options
        return ReplyOptions(
            request.modality or options.modality,
            SpeechOptions(request.voice or options.voice, request.speed or options.speed),
            request.max_output_tokens or options.max_output_tokens,
            options.temperature,
            request.metadata,
            self._remote.offered(request.tools or options.tools),
            tag=request.tag,
        )
