"""The internal event stream as Realtime server events, in the protocol's order.

Differs by transport: over WebRTC sound travels as RTP, so there are buffer events instead of audio
deltas. Source of the order: OpenAI Realtime GA, "conversations" guide.
"""

from typing import Final

from omni import events
from omni.protocol import realtime_events as wire
from omni.protocol import realtime_responses as responses
from omni.protocol.realtime_items import to_wire_item
from omni.protocol.realtime_response import OpenResponse, Out
from omni.protocol.realtime_state import ViewState
from omni.tool_events import ToolListing, ToolProgress

LISTINGS: Final = {
    "in_progress": wire.McpListing,
    "completed": wire.McpListed,
    "failed": wire.McpListFailed,
}
RUNS: Final = {
    "in_progress": responses.McpCallRunning,
    "completed": responses.McpCallCompleted,
    "failed": responses.McpCallFailed,
}


class Renderer:
    """Keeps only what the wire needs repeated: the responses under way."""

    def __init__(self, state: ViewState) -> None:
        self._state = state
        self._open: dict[str, OpenResponse] = {}  # by id

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
                | events.ResponseCall()
                | events.ResponseAudio()
                | events.ResponseDone()
            ):
                return self._reply(event)
            case events.PlayoutStarted() | events.PlayoutStopped() | events.PlayoutCleared():
                return self._playout(event)
            case events.Failed(code=code, message=message):
                detail = wire.ErrorDetail(type="server_error", code=code, message=message)
                return [wire.ErrorEvent(error=detail)]
            case events.Expired(max_session_s=limit_s):
                message = f"Your session hit the maximum duration of {limit_s / 60:g} minutes."
                kind, code = "invalid_request_error", "session_expired"
                detail = wire.ErrorDetail(type=kind, code=code, message=message)
                return [wire.ErrorEvent(error=detail)]
            case events.PictureSeen() | events.UnitDone():
                return []
            case ToolListing() | ToolProgress():
                return _remote(event)
            case _:
                return self._user(event)

    def _user(
        self,
        event: events.SpeechStarted
        | events.SpeechStopped
        | events.InputCommitted
        | events.InputCleared
        | events.SilenceTimedOut
        | events.TranscriptDelta
        | events.TranscriptDone
        | events.TranscriptFailed,
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
            case events.SilenceTimedOut(item_id=item_id):
                start_ms, end_ms = event.audio_start_ms, event.audio_end_ms
                return [
                    wire.InputTimeoutTriggered(
                        item_id=item_id, audio_start_ms=start_ms, audio_end_ms=end_ms
                    )
                ]
        if not self._state.settings.is_transcribed:
            return []
        place = wire.Place(item_id=event.item_id, content_index=event.content_index)
        if isinstance(event, events.TranscriptDelta):
            return [wire.TranscriptionDelta(**place, delta=event.delta)]
        if isinstance(event, events.TranscriptFailed):
            error = wire.TranscriptionError(code=event.code, message=event.message)
            return [wire.TranscriptionFailed(**place, error=error)]
        usage = wire.DurationUsage(seconds=event.duration_s)
        return [wire.TranscriptionCompleted(**place, transcript=event.transcript, usage=usage)]

    def _conversation(
        self,
        event: events.ItemAdded
        | events.ItemDone
        | events.ItemDeleted
        | events.ItemTruncated
        | events.ItemRetrieved,
    ) -> Out:
        match event:
            case events.ItemAdded(item=item, previous_item_id=previous, response_id=response_id):
                added = wire.ConversationItemAdded(
                    previous_item_id=previous, item=to_wire_item(item)
                )
                response = self._open.get(response_id or "")
                if response is None:
                    return [added]
                told: Out = [added] if response.started.is_in_conversation else []
                return [*response.item_begins(item), *told, *response.part_begins(item)]
            case events.ItemDone(item=item, previous_item_id=previous, response_id=response_id):
                done = wire.ConversationItemDone(previous_item_id=previous, item=to_wire_item(item))
                response = self._open.get(response_id or "")
                if response is None:
                    return [done]
                is_running = item.status == "in_progress"  # an MCP call: its tool has not answered
                is_told = response.started.is_in_conversation and not is_running
                return [*response.item_ends(item), *([done] if is_told else [])]
            case events.ItemRetrieved(item=item):
                return [wire.ConversationItemRetrieved(item=to_wire_item(item))]
            case events.ItemDeleted(item_id=item_id):
                return [wire.ConversationItemDeleted(item_id=item_id)]
            case events.ItemTruncated(item_id=item_id, audio_end_ms=end_ms):
                # Over a websocket only the client knows what was heard, and asks for the cut.
                if not event.is_asked_for and self._state.transport == "websocket":
                    return []
                return [wire.ConversationItemTruncated(item_id=item_id, audio_end_ms=end_ms)]

    def _reply(
        self,
        event: events.ResponseStarted
        | events.ResponseText
        | events.ResponseCall
        | events.ResponseAudio
        | events.ResponseDone,
    ) -> Out:
        if isinstance(event, events.ResponseStarted):
            opened = self._open[event.response_id] = OpenResponse(event, self._state)
            return opened.created()
        response = self._open.get(event.response_id)
        if response is None:
            return []
        match event:
            case events.ResponseText(delta=delta):
                return response.text(delta)
            case events.ResponseCall(item=item):
                return response.call(item)
            case events.ResponseAudio(samples=samples):
                return response.audio(samples)
            case events.ResponseDone():
                del self._open[event.response_id]
                return response.finished(event)

    def _playout(
        self, event: events.PlayoutStarted | events.PlayoutStopped | events.PlayoutCleared
    ) -> Out:
        if self._state.transport == "websocket":
            return []
        match event:
            case events.PlayoutStarted():
                return [responses.OutputBufferStarted(response_id=event.response_id)]
            case events.PlayoutStopped():
                return [responses.OutputBufferStopped(response_id=event.response_id)]
            case events.PlayoutCleared():
                return [responses.OutputBufferCleared(response_id=event.response_id)]


def _remote(event: ToolListing | ToolProgress) -> Out:
    """What MCP servers are about."""
    if isinstance(event, ToolListing):
        return [LISTINGS[event.state](item_id=event.item_id)]
    return [RUNS[event.state](item_id=event.item_id, output_index=event.index)]
