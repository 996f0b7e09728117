"""One response on the wire, from `response.created` to `response.done`.

Law: every delta lies between its part's added and done; what is told at the end is what the deltas
have said, cut to what was heard.
"""

from typing import Final

from omni import events
from omni.protocol import realtime_events as wire
from omni.protocol import realtime_responses as responses
from omni.protocol.realtime_audio import OutputAudio
from omni.protocol.realtime_config import AudioFormat, AudioOutput
from omni.protocol.realtime_items import to_wire_item
from omni.protocol.realtime_state import ViewState
from omni.types import Samples

Out = list[wire.ServerEvent]


class OpenResponse:
    """A response that is being made, and how it began.

    Args:
        started: the session's announcement of it.
        state: the settings it began under; where it is told.
    """

    def __init__(self, started: events.ResponseStarted, state: ViewState) -> None:
        self.started = started
        self._format = state.settings.output_format
        if started.tag and state.transport == "websocket":
            self._format = AudioFormat.model_validate_json(started.tag)
        conversation_id = state.session_id.replace("sess", "conv", 1)
        self._conversation_id = conversation_id if started.is_in_conversation else None
        has_deltas = started.modality == "audio" and state.transport == "websocket"
        self._encoder = OutputAudio(self._format) if has_deltas else None  # None: sound is RTP
        self._outputs: list[str] = []  # ids of its items
        # Its words come before its calls, so its message is its first item.
        self._place: Final = {"response_id": started.response_id, "item_id": started.item_id}

    def created(self) -> Out:
        return [responses.ResponseCreated(response=self._describe())]

    def item_begins(self, item: events.Item) -> Out:
        """Before the conversation is told of the item."""
        self._outputs.append(item.item_id)
        place = {"response_id": self.started.response_id, "output_index": self._index(item)}
        return [responses.OutputItemAdded(**place, item=to_wire_item(item))]

    def part_begins(self, item: events.Item) -> Out:
        """After the conversation was told of the item."""
        if item.kind != "message":
            return []
        return [responses.ContentPartAdded(**self._place, part=self._part(""))]

    def call(self, item: events.Item) -> Out:
        """A call, whole."""
        place = {
            "response_id": self.started.response_id,
            "item_id": item.item_id,
            "output_index": self._index(item),
        }
        given = item.arguments or "{}"
        if item.kind == "mcp_call":
            return [
                responses.McpArgumentsDelta(**place, delta=given),
                responses.McpArgumentsDone(**place, arguments=given),
            ]
        call_id, name = item.call_id or "", item.tool_name or ""
        return [
            responses.FunctionArgumentsDelta(**place, call_id=call_id, delta=given),
            responses.FunctionArgumentsDone(**place, call_id=call_id, name=name, arguments=given),
        ]

    def text(self, delta: str) -> Out:
        if self.started.modality == "audio":
            return [responses.OutputTranscriptDelta(**self._place, delta=delta)]
        return [responses.OutputTextDelta(**self._place, delta=delta)]

    def audio(self, samples: Samples) -> Out:
        """Sound of the reply, float32 [n] at 24 kHz."""
        audio = self._encoder.push(samples) if self._encoder else ""
        return [responses.OutputAudioDelta(**self._place, delta=audio)] if audio else []

    def item_ends(self, item: events.Item) -> Out:
        """Before the conversation is told that the item is done."""
        done = responses.OutputItemDone(
            response_id=self.started.response_id,
            output_index=self._index(item),
            item=to_wire_item(item),
        )
        return [*(self._part_ends(item) if item.kind == "message" else []), done]

    def _part_ends(self, item: events.Item) -> Out:
        place, text = self._place, item.text
        ends: Out = []
        if self.started.modality == "audio":
            rest = self._encoder.flush() if self._encoder else ""
            if rest and item.status == "completed":
                ends.append(responses.OutputAudioDelta(**place, delta=rest))
            ends.append(responses.OutputAudioDone(**place))
            ends.append(responses.OutputTranscriptDone(**place, transcript=text))
        else:
            ends.append(responses.OutputTextDone(**place, text=text))
        return [*ends, responses.ContentPartDone(**place, part=self._part(text))]

    def finished(self, done: events.ResponseDone) -> Out:
        finished = _finished(self._describe(), done)
        limits = tuple(
            wire.RateLimit(
                name=limit.name,
                limit=limit.limit,
                remaining=limit.remaining,
                reset_seconds=limit.resets_s,
            )
            for limit in done.limits
        )
        return [
            responses.ResponseFinished(response=finished),
            wire.RateLimits(rate_limits=limits),
        ]

    def _index(self, item: events.Item) -> int:
        return self._outputs.index(item.item_id)

    def _part(self, text: str) -> responses.OutputPart:
        if self.started.modality == "audio":
            return responses.OutputPart(type="audio", transcript=text)
        return responses.OutputPart(type="text", text=text)

    def _describe(self) -> responses.Response:
        """The response object as it begins."""
        audio = AudioOutput(format=self._format, voice=self.started.voice)
        response = responses.Response(
            id=self.started.response_id,
            conversation_id=self._conversation_id,
            status="in_progress",
            output_modalities=[self.started.modality],
            max_output_tokens=self.started.max_tokens,
            audio=responses.ResponseAudioSettings(output=audio),
        )
        if self.started.metadata is None:
            return response
        return response.model_copy(update={"metadata": self.started.metadata})


def _finished(response: responses.Response, done: events.ResponseDone) -> responses.Response:
    usage = done.usage
    details = responses.StatusDetails(type=done.status)
    if done.reason is not None:
        details = responses.StatusDetails(type=done.status, reason=done.reason)
    elif done.status == "failed":
        error = responses.ResponseError(
            code=done.error_code or "internal_error",
            message=done.error_message or "The response failed.",
        )
        details = responses.StatusDetails(type=done.status, error=error)
    return response.model_copy(
        update={
            "status": done.status,
            "status_details": details,
            "output": tuple(to_wire_item(item) for item in done.items),
            "usage": responses.ResponseUsage(
                total_tokens=usage.input_tokens + usage.output_tokens,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                input_token_details=responses.InputTokens(
                    text_tokens=usage.input_tokens,
                    cached_tokens=usage.cached_tokens,
                    cached_tokens_details=responses.CachedTokens(text_tokens=usage.cached_tokens),
                ),
                output_token_details=responses.OutputTokens(text_tokens=usage.output_tokens),
            ),
        }
    )
