"""The websocket's frames: uvicorn's own, but for three things that it takes for errors.

A close frame amid a fragmented message (RFC 6455, 5.4) is answered in kind (5.5.1); what is no
UTF-8 closes with 1007 and fills no log, nor does a refusal.
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

    async def send(self, message: Any) -> None:
        """A refusal with a body is an answer too, which uvicorn logs as none."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True

    def send_receive_event_to_app(self) -> None:
        """What is no UTF-8 is the client's fault, not one of ours to be logged."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                self.conn.send_close(1007)
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()
