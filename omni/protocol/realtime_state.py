"""What the two directions of a Realtime view share, and no one else knows."""

from dataclasses import dataclass, field
from typing import Literal

from omni.protocol.realtime_config import RealtimeSession, TranscriptionSession
from omni.protocol.realtime_session import Settings

Transport = Literal["websocket", "webrtc"]


@dataclass(slots=True, eq=False)
class ViewState:
    """`truncations`: items whose truncation the client asked for and was not yet told."""

    transport: Transport
    model: str
    settings: Settings
    session_id: str = ""
    truncations: set[str] = field(default_factory=set)

    def session(self) -> RealtimeSession | TranscriptionSession:
        """The settings in effect, on the wire."""
        return self.settings.to_wire(self.session_id, self.model)
