"""The websocket's frames: uvicorn's own, but for a close frame amid a fragmented message.

RFC 6455 lets a control frame come there (5.4) and wants it answered in kind (5.5.1); the library
calls it a protocol error. tests/serve/test_rfc6455.py runs all cases.
"""

import logging
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol


class Frames(ServerProtocol):
    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None  # the rest of the message will never come
        super().recv_frame(frame)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """For uvicorn's `ws`. Sound does not shrink, and bombs do not grow: no compression."""

    def __init__(self, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        log = logging.getLogger("uvicorn.error")
        self.conn = Frames(max_size=config.ws_max_size, logger=log)
