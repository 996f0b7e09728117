"""Our side of the conversation: one reply at a time, from prompt to the last sample heard.

A reply may be begun before the user's turn is surely over; it is then held, and nobody but the
stages knows of it until `release`. Laws: the history holds only words that were heard; every wait
has a deadline; after a worker's death the reply goes on from the last word that was spoken.
"""

from dataclasses import replace
from typing import Literal

from omni.chat import Message
from omni.config import OmniConfig
from omni.dialog.history import History, with_text
from omni.dialog.outbox import Outbox
from omni.dialog.remote_tools import RemoteTools
from omni.dialog.reply import Reply, ReplyOptions, prompt_for
from omni.dialog.reply_items import ReplyItems
from omni.dialog.voice import Voice
from omni.events import (
    ItemTruncated,
    PlayoutCleared,
    PlayoutStarted,
    PlayoutStopped,
    ResponseAudio,
    ResponseText,
)
from omni.media.echo_canceller import EchoCanceller
from omni.media.playout import RATE_HZ, Playout
from omni.types import Called, Say, Speech, StageReport, Token


class Replying:
    """Args:
    outbox: where events and chunks go.
    history: gets the reply's item when it is released, and its final words when it ends.
    config: how long each wait may last, how far ahead sound is released, how it is lowered.
    """

    def __init__(self, outbox: Outbox, history: History, config: OmniConfig) -> None:
        self._out = outbox
        self._history = history
        self._deadlines = config.deadlines
        audio = config.audio
        self._pace = audio.lead_ms, audio.late_ms, audio.cushion_ms
        self.remote = RemoteTools(outbox, history, config.tools)
        self._items = ReplyItems(outbox, history, self.remote)
        canceller = EchoCanceller() if config.audio.cancel_echo else None
        self.voice = Voice(outbox.clock, config.turn.overlap, canceller)
        self._reply: Reply | None = None
        self._speech_end_ms = 0.0

    @property
    def is_active(self) -> bool:
        """A reply that the user knows of has not ended yet."""
        return self._reply is not None and self._reply.state == "active"

    @property
    def is_held(self) -> bool:
        return self._reply is not None and self._reply.state == "held"

    @property
    def is_idle(self) -> bool:
        """No reply is being made or still heard."""
        return self._reply is None

    @property
    def needs_core(self) -> bool:
        return bool(self._reply and not self._reply.is_written)

    @property
    def response_id(self) -> str | None:
        """The active reply's id."""
        return self._reply.response_id if self._reply and self.is_active else None

    @property
    def item_id(self) -> str | None:
        """The item of the reply that is active or still heard."""
        return self._reply.item.item_id if self._reply and not self.is_held else None

    def begin(
        self, messages: tuple[Message, ...], options: ReplyOptions, speech_end_ms: float
    ) -> None:
        """Ask the core for a reply, held back until `release`.

        `speech_end_ms`: wall clock of the user's last speech sample, from which latency counts.
        """
        reply = self._new_reply(options, speech_end_ms)
        reply.messages = messages
        self._prompt(reply)

    def begin_unasked(self, options: ReplyOptions, speech_end_ms: float) -> str:
        """The brain speaks by itself: what it sends under the id returned is this reply."""
        reply = self._new_reply(options, speech_end_ms)
        reply.waits_since_ms = self._out.clock.now_ms()
        self.release()
        return reply.response_id

    def fail(self, options: ReplyOptions, code: str, message: str) -> None:
        """A reply that can only say that it is none."""
        self._apologise(self._new_reply(options, self._out.clock.now_ms()), code, message)

    def recite(self, text: str, options: ReplyOptions, speech_end_ms: float) -> None:
        """A reply whose words are known, held back until `release`; the core is not asked."""
        reply = self._new_reply(options, speech_end_ms)
        reply.text = text
        self._mark(reply, "first_token_ms")
        self._end_text(reply, text)

    def release(self) -> None:
        """The turn is surely over: show the reply, and whatever of it exists already."""
        reply = self._reply
        if reply is None or reply.state != "held":
            return
        reply.state = "active"
        self._mark(reply, "end_of_turn_ms")
        self._items.begin(reply)
        self.tick()

    def receive(self, chunk: Token | Called | Speech) -> None:
        """Take in what the core wrote or called or the voice spoke; stale pieces are ignored."""
        reply = self._reply
        if reply is None or chunk.epoch < self._out.epoch or chunk.response_id != reply.response_id:
            return
        reply.waits_since_ms = self._out.clock.now_ms()
        if isinstance(chunk, Speech):
            self._mark(reply, "first_clause_ms")
            reply.playout.push(chunk, reply.waits_since_ms)
        elif isinstance(chunk, Called):
            self._mark(reply, "first_token_ms")
            reply.waiting_calls.append(chunk)
        else:
            self._mark(reply, "first_token_ms")
            reply.text, reply.cost = reply.text + chunk.text, chunk
            reply.last_token = chunk if chunk.finish else None
        self.tick()

    def stage_report(self, report: StageReport) -> None:
        """A stage that replies need failed, died or came back."""
        reply = self._reply
        if reply is None or reply.state == "playing" or report.stage not in ("think", "speak"):
            return
        if report.state == "restored":
            self._resume(reply)
        elif report.state == "failed":
            self._apologise(reply, "stage_failed", report.message or f"{report.stage} failed")

    def tick(self) -> None:
        """Release what is due, notice what is over or overdue. Called every 20 ms."""
        reply = self._reply
        if reply is None:
            return
        now_ms = self._out.clock.now_ms()
        if reply.state == "playing":
            if reply.playout.played_samples(now_ms) >= reply.playout.generated_samples:
                self._drop_tail()
            return
        if reply.state == "active":
            self._items.tell_calls(reply)
            if reply.text.strip():
                self._items.open_message(reply)
            if reply.is_spoken:
                self._release_audio(reply, now_ms)
            else:
                self._show(reply, len(reply.text))
            if reply.is_over:
                self._complete(reply)
                return
        self._watch(reply, now_ms)

    def interrupt(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        """Stop now; what was not heard never was. A held reply vanishes without a trace."""
        reply = self._reply
        if reply is None:
            return
        self._out.raise_epoch()
        self._leave()
        if reply.state == "held":
            return
        num_heard = reply.playout.played_samples(now_ms := self._out.clock.now_ms())
        if reply.state == "active" and reply.is_spoken:
            reply.playout.hold()
            self._release_audio(reply, now_ms)  # a last frame, in which it fades
        heard = reply.playout.text_until(num_heard) if reply.is_spoken else reply.text
        item = with_text(reply.item, heard, "incomplete")
        if reply.state == "active":
            reply.item = item
            self._items.end(reply, "cancelled", reason)
        elif reply.has_message:
            self._history.replace(item)
        if reply.playout.released_samples:
            self._out.emit(PlayoutCleared(reply.response_id))
        if reply.playout.released_samples and reply.options.is_in_conversation:
            self._out.emit(ItemTruncated(item.item_id, num_heard * 1000 // RATE_HZ))

    # ---- inside

    def _new_reply(self, options: ReplyOptions, speech_end_ms: float) -> Reply:
        self._drop_tail()
        ids = (self._out.new_id("resp"), self._out.new_id("item"))
        reply = self._reply = Reply(ids, options, Playout(*self._pace))
        self.voice.take(reply)
        self._speech_end_ms = speech_end_ms
        self._mark(reply, "recognised_ms")
        return reply

    def _prompt(self, reply: Reply) -> None:
        reply.waits_since_ms = self._out.clock.now_ms()
        self._out.send(prompt_for(reply, self._out.stamp))

    def _say(self, reply: Reply, text: str) -> None:
        reply.waits_since_ms = self._out.clock.now_ms()
        is_last, stamp = reply.last_token is not None, (*self._out.stamp, reply.response_id)
        self._out.send(Say(*stamp, text, reply.options.speech, is_last))

    def _end_text(self, reply: Reply, text: str) -> None:
        """Nothing follows these words, which the core has not written."""
        stamp, speech = (*self._out.stamp, reply.response_id), reply.options.speech
        reply.last_token = Token(*stamp, 0, text, speech, "stop")
        if reply.is_spoken:
            self._say(reply, text)

    def _resume(self, reply: Reply) -> None:
        """Have the rest of the reply made again, from the last piece that was spoken."""
        self._out.raise_epoch()
        if reply.is_spoken:
            self._say(reply, reply.text[len(reply.playout.text) :])
        if reply.last_token is None:
            if reply.has_calls:  # they are its end
                self._end_text(reply, "")
            else:
                self._prompt(reply)

    def _apologise(self, reply: Reply, code: str, message: str) -> None:
        """End a reply that cannot go on: in words if the voice still can, else at once."""
        is_second_failure, reply.error = bool(reply.error), reply.error or (code, message)
        self._out.raise_epoch()
        if reply.state == "held":
            self.release()
        if is_second_failure or not (reply.is_spoken and self._deadlines.apology):
            self._items.end(reply, "failed")
            self._leave()
            return
        apology = f" {self._deadlines.apology}"
        reply.text = reply.playout.text + apology
        self._end_text(reply, apology)

    def _release_audio(self, reply: Reply, now_ms: float) -> None:
        playout = reply.playout
        for samples in playout.release(now_ms):
            self.voice.speak(samples)
            if reply.timings.first_audio_ms is None:
                self._mark(reply, "first_audio_ms")
                self._out.emit(PlayoutStarted(reply.response_id))
            end = playout.released_samples
            words = playout.words_between(end - len(samples), end)
            self._out.emit(ResponseAudio(reply.response_id, reply.item.item_id, samples, words))
        self._show(reply, len(playout.text_begun(playout.released_samples)))

    def _show(self, reply: Reply, num_chars: int) -> None:
        if delta := reply.take_words(num_chars):
            self._out.emit(ResponseText(reply.response_id, reply.item.item_id, delta))

    def _complete(self, reply: Reply) -> None:
        text = reply.playout.text if reply.is_spoken else reply.text
        self._show(reply, len(text))
        reply.item = with_text(reply.item, text.strip(), "completed")
        cut_short = reply.last_token is not None and reply.last_token.finish == "length"
        if reply.error:
            self._items.end(reply, "failed")
        elif cut_short:
            self._items.end(reply, "incomplete", "max_output_tokens")
        else:
            self._items.end(reply, "completed")
        if reply.is_spoken and reply.has_message:
            reply.state = "playing"
        else:
            self._leave()

    def _drop_tail(self) -> None:
        """The finished reply has been heard, or gives way to the next one."""
        reply = self._reply
        self._leave()
        if reply is not None and reply.state == "playing" and reply.playout.generated_samples:
            self._out.emit(PlayoutStopped(reply.response_id))

    def _leave(self) -> None:
        self._reply = None
        self.voice.leave()

    def _watch(self, reply: Reply, now_ms: float) -> None:
        """The watchdog: no reply waits for ever."""
        limit_s = reply.wait_limit_s(self._deadlines)
        if limit_s is not None and now_ms - reply.waits_since_ms > limit_s * 1000:
            self._apologise(reply, "stage_timeout", "the reply took too long")

    def _mark(self, reply: Reply, name: str) -> None:
        if getattr(reply.timings, name) is None:
            elapsed_ms = round(self._out.clock.now_ms() - self._speech_end_ms, 1)
            reply.timings = replace(reply.timings, **{name: elapsed_ms})
