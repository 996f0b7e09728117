"""Server events that the Realtime protocol does not have, for clients that asked for them.

Only then: older stock clients break on names that they do not know.
"""

from typing import Final, Literal

from omni import events
from omni.protocol.realtime_events import ServerEvent

EXTENSION: Final = "omni"


class ResponseTimings(ServerEvent):
    """Where the time of a reply went, ms since the user's last speech sample."""

    type: Literal["omni.response.timings"] = "omni.response.timings"
    response_id: str
    end_of_turn_ms: float | None
    recognised_ms: float | None
    first_token_ms: float | None
    first_clause_ms: float | None
    first_audio_ms: float | None


class ImageSeen(ServerEvent):
    """What the eyes found in a picture."""

    type: Literal["omni.image.seen"] = "omni.image.seen"
    image_id: str
    note: str
    captured_ms: int


def extended(event: events.Event) -> list[ServerEvent]:
    """The extension events that tell of one internal event."""
    match event:
        case events.ResponseDone(response_id=response_id, timings=timings):
            return [
                ResponseTimings(
                    response_id=response_id,
                    end_of_turn_ms=timings.end_of_turn_ms,
                    recognised_ms=timings.recognised_ms,
                    first_token_ms=timings.first_token_ms,
                    first_clause_ms=timings.first_clause_ms,
                    first_audio_ms=timings.first_audio_ms,
                )
            ]
        case events.PictureSeen(picture_id=picture_id, note=note, captured_ms=captured_ms):
            return [ImageSeen(image_id=picture_id, note=note, captured_ms=captured_ms)]
        case _:
            return []
