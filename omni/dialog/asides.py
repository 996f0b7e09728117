"""Replies outside the conversation: what a client wants to know or have said beside it.

Laws: the conversation never waits for them: one that is being written gives the core up at once and
goes on later from its last word; one that is spoken waits for silence. No item of theirs is ever
shown to the core again.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

from omni.chat import Message
from omni.config import OmniConfig
from omni.dialog.history import History, with_text
from omni.dialog.outbox import Outbox
from omni.dialog.reply import Reason, Reply, ReplyOptions, Status, prompt_for
from omni.dialog.reply_items import ReplyItems
from omni.dialog.replying import Replying
from omni.events import ResponseText
from omni.media.playout import Playout
from omni.types import Called, Speech, StageReport, Token


@dataclass(frozen=True, slots=True, eq=False)
class Spoken:
    """A reply that is to be spoken when there is silence."""

    messages: tuple[Message, ...]
    options: ReplyOptions


class Asides:
    """Args:
    outbox: where events and chunks go.
    config: how long each wait may last.
    """

    def __init__(self, outbox: Outbox, config: OmniConfig) -> None:
        self._out = outbox
        self._deadlines = config.deadlines
        history = History()  # of their own, and never shown
        self._voice = Replying(outbox, history, config)
        self._items = ReplyItems(outbox, history, self._voice.remote)
        self._spoken: deque[Spoken] = deque()
        self._written: deque[Reply] = deque()  # the first one is being written
        self._prompt_id = ""  # of its newest prompt: it may have several, one after the other
        self._asked_epoch = 0

    @property
    def is_speaking(self) -> bool:
        return not self._voice.is_idle

    @property
    def is_writing(self) -> bool:
        return bool(self._written)

    def begin(self, messages: tuple[Message, ...], options: ReplyOptions) -> None:
        """Make a reply to `messages`; a written one is announced at once."""
        if options.modality == "audio":
            self._spoken.append(Spoken(messages, options))
            return
        reply = self._announced(options)
        reply.messages = messages
        self._written.append(reply)

    def refuse(self, options: ReplyOptions, code: str, message: str) -> None:
        """A reply that only says that it is none."""
        reply = self._announced(options)
        reply.error = (code, message)
        self._items.end(reply, "failed")

    def receive(self, chunk: Token | Called | Speech) -> None:
        """Take in what the core wrote for the first one; what is left of older prompts is void."""
        self._voice.receive(chunk)
        if isinstance(chunk, Speech) or not self._is_asked or chunk.response_id != self._prompt_id:
            return
        reply = self._written[0]
        reply.waits_since_ms = self._out.clock.now_ms()
        if isinstance(chunk, Called):
            reply.waiting_calls.append(chunk)
            self._items.tell_calls(reply)
            return
        reply.text, reply.cost = reply.text + chunk.text, chunk
        self._show(reply)
        if chunk.finish:
            reply.last_token = chunk
            if chunk.finish == "length":
                self._finish(reply, "incomplete", "max_output_tokens")
            else:
                self._finish(reply, "completed")

    def tick(self, *, is_core_free: bool, is_silent: bool) -> None:
        """Time has passed. `is_silent`: nobody speaks, nor is about to."""
        self._voice.tick()
        if self._spoken and is_silent and not self.is_speaking:
            wanted = self._spoken.popleft()
            self._voice.begin(wanted.messages, wanted.options, self._out.clock.now_ms())
            self._voice.release()
        if not self._written:
            return
        reply, limits = self._written[0], self._deadlines
        limit_s = limits.next_token_s if reply.text else limits.first_token_s
        if not self._is_asked:
            if is_core_free and not self.is_speaking:
                self._ask(reply)
        elif self._out.clock.now_ms() - reply.waits_since_ms > limit_s * 1000:
            self._fail("stage_timeout", "the reply took too long")

    def cancel(self, response_id: str) -> bool:
        """Stop this one; False if it is none of ours."""
        if response_id == self._voice.response_id:
            self._voice.interrupt("client_cancelled")
            return True
        for reply in self._written:
            if reply.response_id == response_id:
                self._finish(reply, "cancelled", "client_cancelled")
                return True
        return False

    def hush(self) -> None:
        """The user speaks: what is being said gives way."""
        self._voice.interrupt("turn_detected")

    def stage_report(self, report: StageReport) -> None:
        """A stage failed or is back."""
        self._voice.stage_report(report)
        if report.stage != "think":
            return
        if report.state == "failed" and self._is_asked:
            self._fail("stage_failed", report.message or "think failed")
        elif report.state == "restored":
            self._prompt_id = ""  # asked again as soon as the core is free

    # ---- inside

    @property
    def _is_asked(self) -> bool:
        """The core is writing the first one, as far as we know."""
        is_newest = bool(self._prompt_id) and self._out.prompted_id == self._prompt_id
        return bool(self._written) and is_newest and self._asked_epoch == self._out.epoch

    def _ask(self, reply: Reply) -> None:
        self._prompt_id, self._asked_epoch = self._out.new_id("aside"), self._out.epoch
        reply.waits_since_ms = self._out.clock.now_ms()
        prompt = prompt_for(reply, self._out.stamp)
        self._out.send(replace(prompt, response_id=self._prompt_id))

    def _announced(self, options: ReplyOptions) -> Reply:
        ids = (self._out.new_id("resp"), self._out.new_id("item"))
        reply = Reply(ids, options, Playout(0))
        reply.state = "active"
        self._items.begin(reply)
        return reply

    def _show(self, reply: Reply) -> None:
        if delta := reply.take_words(len(reply.text)):
            self._items.open_message(reply)
            self._out.emit(ResponseText(reply.response_id, reply.item.item_id, delta))

    def _fail(self, code: str, message: str) -> None:
        self._written[0].error = (code, message)
        self._finish(self._written[0], "failed")

    def _finish(self, reply: Reply, status: Status, reason: Reason | None = None) -> None:
        if reply is self._written[0]:
            self._prompt_id = ""  # whatever the core still writes of it
        self._written.remove(reply)
        whole: Literal["completed", "incomplete"] = (
            "completed" if status == "completed" else "incomplete"
        )
        reply.item = with_text(reply.item, reply.text.strip(), whole)
        self._items.end(reply, status, reason)
