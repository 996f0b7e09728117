"""The internal event stream as Realtime server events, in the protocol's order.

Differs by transport: over WebRTC sound travels as RTP, so there are buffer events instead of audio
deltas. Source of the order: OpenAI Realtime GA, "conversations" guide.
"""

from dataclasses import dataclass

from omni import events
from omni.protocol import realtime_events as wire
from omni.protocol.realtime_audio import OutputAudio
from omni.protocol.realtime_items import to_wire_item
from omni.protocol.realtime_state import ViewState
from omni.protocol.realtime_wire import AudioFormat, AudioOutput

Out = list[wire.ServerEvent]


@dataclass(frozen=True, slots=True, eq=False)
class OpenResponse:
    """The one response that is being made, and how it began."""

    started: events.ResponseStarted
    format: AudioFormat
    max_output_tokens: int
    encoder: OutputAudio | None  # None: no sound in events

    @property
    def place(self) -> dict[str, str]:
        return {"response_id": self.started.response_id, "item_id": self.started.item_id}

    def part(self, text: str) -> wire.OutputPart:
        if self.started.modality == "audio":
            return wire.OutputPart(type="audio", transcript=text)
        return wire.OutputPart(type="text", text=text)

    def describe(self, state: ViewState) -> wire.Response:
        """The response object as it begins."""
        audio = AudioOutput(format=self.format, voice=self.started.voice)
        response = wire.Response(
            id=self.started.response_id,
            conversation_id=state.session_id.replace("sess", "conv", 1),
            status="in_progress",
            output_modalities=[self.started.modality],
            max_output_tokens=self.max_output_tokens,
            audio=wire.ResponseAudioSettings(output=audio),
        )
        if self.started.metadata is None:
            return response
        return response.model_copy(update={"metadata": self.started.metadata})


class Renderer:
    """Keeps only what the wire needs repeated: the response under way and its sound's encoder."""

    def __init__(self, state: ViewState) -> None:
        self._state = state
        self._response: OpenResponse | None = None

    def render(self, event: events.Event) -> Out:
        """The server events that tell of one internal event; often none."""
        match event:
            case (
                events.ItemAdded()
                | events.ItemDone()
                | events.ItemDeleted()
                | events.ItemTruncated()
                | events.ItemRetrieved()
            ):
                return self._conversation(event)
            case (
                events.ResponseStarted()
                | events.ResponseText()
                | events.ResponseAudio()
                | events.ResponseDone()
            ):
                return self._reply(event)
            case events.PlayoutStarted() | events.PlayoutStopped() | events.PlayoutCleared():
                return self._playout(event)
            case events.Failed(code=code, message=message):
                detail = wire.ErrorDetail(type="server_error", code=code, message=message)
                return [wire.ErrorEvent(error=detail)]
            case events.PictureSeen():
                return []
            case _:
                return self._user(event)

    def _user(
        self,
        event: events.SpeechStarted
        | events.SpeechStopped
        | events.InputCommitted
        | events.InputCleared
        | events.TranscriptDelta
        | events.TranscriptDone,
    ) -> Out:
        match event:
            case events.SpeechStarted(item_id=item_id, audio_start_ms=at_ms):
                return [wire.InputSpeechStarted(item_id=item_id, audio_start_ms=at_ms)]
            case events.SpeechStopped(item_id=item_id, audio_end_ms=at_ms):
                return [wire.InputSpeechStopped(item_id=item_id, audio_end_ms=at_ms)]
            case events.InputCommitted(item_id=item_id, previous_item_id=previous):
                return [wire.InputAudioCommitted(item_id=item_id, previous_item_id=previous)]
            case events.InputCleared():
                return [wire.InputAudioCleared()]
        if not self._state.settings.is_transcribed:
            return []
        if isinstance(event, events.TranscriptDelta):
            return [wire.TranscriptionDelta(item_id=event.item_id, delta=event.delta)]
        usage = wire.DurationUsage(seconds=event.duration_s)
        return [
            wire.TranscriptionCompleted(
                item_id=event.item_id, transcript=event.transcript, usage=usage
            )
        ]

    def _conversation(
        self,
        event: events.ItemAdded
        | events.ItemDone
        | events.ItemDeleted
        | events.ItemTruncated
        | events.ItemRetrieved,
    ) -> Out:
        match event:
            case events.ItemAdded(item=item, previous_item_id=previous):
                added = wire.ConversationItemAdded(
                    previous_item_id=previous, item=to_wire_item(item)
                )
                return [*self._item_begins(item), added, *self._part_begins(item)]
            case events.ItemDone(item=item, previous_item_id=previous):
                done = wire.ConversationItemDone(previous_item_id=previous, item=to_wire_item(item))
                return [*self._item_ends(item), done]
            case events.ItemRetrieved(item=item):
                return [wire.ConversationItemRetrieved(item=to_wire_item(item))]
            case events.ItemDeleted(item_id=item_id):
                return [wire.ConversationItemDeleted(item_id=item_id)]
            case events.ItemTruncated(item_id=item_id, audio_end_ms=end_ms):
                # Over a websocket only the client knows what was heard, and asks for the cut.
                is_asked_for = item_id in self._state.truncations
                self._state.truncations.discard(item_id)
                if not is_asked_for and self._state.transport == "websocket":
                    return []
                return [wire.ConversationItemTruncated(item_id=item_id, audio_end_ms=end_ms)]

    def _reply(
        self,
        event: events.ResponseStarted
        | events.ResponseText
        | events.ResponseAudio
        | events.ResponseDone,
    ) -> Out:
        if isinstance(event, events.ResponseStarted):
            self._response = opened = self._open(event)
            return [wire.ResponseCreated(response=opened.describe(self._state))]
        response = self._response
        if response is None or response.started.response_id != event.response_id:
            return []
        match event:
            case events.ResponseText(delta=delta) if response.started.modality == "audio":
                return [wire.OutputTranscriptDelta(**response.place, delta=delta)]
            case events.ResponseText(delta=delta):
                return [wire.OutputTextDelta(**response.place, delta=delta)]
            case events.ResponseAudio(samples=samples):
                audio = response.encoder.push(samples) if response.encoder else ""
                return [wire.OutputAudioDelta(**response.place, delta=audio)] if audio else []
            case events.ResponseDone():
                self._response = None
                finished = _finished(response.describe(self._state), event)
                return [wire.ResponseFinished(response=finished), wire.RateLimits()]

    def _open(self, started: events.ResponseStarted) -> OpenResponse:
        settings = self._state.settings
        has_deltas = started.modality == "audio" and self._state.transport == "websocket"
        encoder = OutputAudio(settings.output_format) if has_deltas else None
        limit = settings.options.max_output_tokens
        return OpenResponse(started, settings.output_format, limit, encoder)

    def _is_reply(self, item: events.Item) -> bool:
        return self._response is not None and self._response.started.item_id == item.item_id

    def _item_begins(self, item: events.Item) -> Out:
        response = self._response
        if response is None or not self._is_reply(item):
            return []
        return [
            wire.OutputItemAdded(response_id=response.started.response_id, item=to_wire_item(item))
        ]

    def _part_begins(self, item: events.Item) -> Out:
        response = self._response
        if response is None or not self._is_reply(item):
            return []
        return [wire.ContentPartAdded(**response.place, part=response.part(""))]

    def _item_ends(self, item: events.Item) -> Out:
        response = self._response
        if response is None or not self._is_reply(item):
            return []
        place, text = response.place, item.text
        ends: Out = []
        if response.started.modality == "audio":
            rest = response.encoder.flush() if response.encoder else ""
            if rest and item.status == "completed":
                ends.append(wire.OutputAudioDelta(**place, delta=rest))
            ends.append(wire.OutputAudioDone(**place))
            ends.append(wire.OutputTranscriptDone(**place, transcript=text))
        else:
            ends.append(wire.OutputTextDone(**place, text=text))
        ends.append(wire.ContentPartDone(**place, part=response.part(text)))
        done = wire.OutputItemDone(response_id=place["response_id"], item=to_wire_item(item))
        return [*ends, done]

    def _playout(
        self, event: events.PlayoutStarted | events.PlayoutStopped | events.PlayoutCleared
    ) -> Out:
        if self._state.transport == "websocket":
            return []
        match event:
            case events.PlayoutStarted():
                return [wire.OutputBufferStarted(response_id=event.response_id)]
            case events.PlayoutStopped():
                return [wire.OutputBufferStopped(response_id=event.response_id)]
            case events.PlayoutCleared():
                return [wire.OutputBufferCleared(response_id=event.response_id)]


def _finished(response: wire.Response, done: events.ResponseDone) -> wire.Response:
    usage = done.usage
    details = wire.StatusDetails(type=done.status)
    if done.reason is not None:
        details = wire.StatusDetails(type=done.status, reason=done.reason)
    elif done.status == "failed":
        error = wire.ResponseError(
            code=done.error_code or "internal_error",
            message=done.error_message or "The response failed.",
        )
        details = wire.StatusDetails(type=done.status, error=error)
    return response.model_copy(
        update={
            "status": done.status,
            "status_details": details,
            "output": (to_wire_item(done.item),),
            "usage": wire.ResponseUsage(
                total_tokens=usage.input_tokens + usage.output_tokens,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                input_token_details=wire.InputTokens(
                    text_tokens=usage.input_tokens,
                    cached_tokens=usage.cached_tokens,
                    cached_tokens_details=wire.CachedTokens(text_tokens=usage.cached_tokens),
                ),
                output_token_details=wire.OutputTokens(text_tokens=usage.output_tokens),
            ),
        }
    )
