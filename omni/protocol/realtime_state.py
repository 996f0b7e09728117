"""What the two directions of a Realtime view share, and no one else knows."""

from dataclasses import dataclass
from typing import Literal

from omni.protocol.realtime_config import RealtimeSession, TranscriptionSession
from omni.protocol.realtime_session import Settings

Transport = Literal["websocket", "webrtc"]


@dataclass(slots=True, eq=False)
class ViewState:
    transport: Transport
    model: str
    settings: Settings
    session_id: str = ""

    def session(self) -> RealtimeSession | TranscriptionSession:
        """The settings in effect, on the wire."""
        return self.settings.to_wire(self.session_id, self.model)
