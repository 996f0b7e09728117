"""What the two directions of a Realtime view share, and no one else knows."""

from dataclasses import dataclass
from typing import Literal

from omni.protocol.realtime_config import RealtimeSession, TranscriptionSession
from omni.protocol.realtime_session import Identity, Settings

Transport = Literal["websocket", "webrtc"]


@dataclass(slots=True, eq=False)
class ViewState:
    transport: Transport
    model: str
    settings: Settings
    session_id: str = ""
    expires_s: int = 0  # since the epoch
    keeps_voice: bool = False  # it has been heard, and may not change any more

    def session(self) -> RealtimeSession | TranscriptionSession:
        """The settings in effect, on the wire."""
        return self.settings.to_wire(Identity(self.session_id, self.model, self.expires_s))
