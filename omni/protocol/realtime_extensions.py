"""Server events that the Realtime protocol does not have, for clients that asked for them.

Only then: older stock clients break on names that they do not know.
"""

from typing import Final, Literal

from pydantic import BaseModel

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


class ThingSeen(BaseModel):
    """`box`: left, top, right, bottom as fractions of the picture; the id stays while in view."""

    track_id: int
    label: str
    colour: str
    box: tuple[float, float, float, float]
    probability: float


class ImageSeen(ServerEvent):
    """What the eyes found in a picture."""

    type: Literal["omni.image.seen"] = "omni.image.seen"
    image_id: str
    note: str
    captured_ms: int
    things: list[ThingSeen]
    text: str


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
        case events.PictureSeen():
            things = [
                ThingSeen(
                    track_id=thing.track_id,
                    label=thing.label,
                    colour=thing.colour,
                    box=thing.box,
                    probability=round(thing.probability, 3),
                )
                for thing in event.things
            ]
            return [
                ImageSeen(
                    image_id=event.picture_id,
                    note=event.note,
                    captured_ms=event.captured_ms,
                    things=things,
                    text=event.text,
                )
            ]
        case _:
            return []
