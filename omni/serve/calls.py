"""The WebRTC calls there are, by id, and how an offer arrives over HTTP."""

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from omni.errors import ProtocolError
from omni.protocol.views import View
from omni.serve.client_secrets import Secret
from omni.serve.gateway import Gateway
from omni.serve.webrtc import Peer


class Calls:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._peers: dict[str, Peer] = {}
        self._secrets: dict[str, Secret] = {}

    async def open(self, offer: str, view: View, secret: Secret | None = None) -> tuple[Peer, str]:
        """Answer an offer; returns the call and the SDP answer. Raises as `Peer.answer`."""
        self._forget_closed()
        peer = Peer(self._gateway, view)
        answer = await peer.answer(offer)
        self._peers[peer.call_id] = peer
        if secret:
            self._secrets[peer.call_id] = secret
        return peer, answer

    def get(self, call_id: str) -> Peer:
        """Raises: ProtocolError: there is no such call."""
        self._forget_closed()
        peer = self._peers.get(call_id)
        if peer is None:
            raise ProtocolError("There is no such call.", "call_not_found", "call_id")
        return peer

    async def hang_up(self, call_id: str, secret: Secret | None = None) -> None:
        """Raises: ProtocolError: there is no such call, or none that the secret opened."""
        peer = self.get(call_id)
        if secret is not None and self._secrets.get(call_id) is not secret:
            raise ProtocolError("There is no such call.", "call_not_found", "call_id")
        await peer.close(1000, "hung up")

    def _forget_closed(self) -> None:
        self._peers = {key: peer for key, peer in self._peers.items() if not peer.closed.is_set()}
        self._secrets = {key: s for key, s in self._secrets.items() if key in self._peers}


async def read_offer(request: Request) -> tuple[str, str | None]:
    """The SDP offer and the session settings beside it, if any.

    Raises:
        ProtocolError: neither an SDP body nor a form with one.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/sdp":
        try:
            return (await request.body()).decode(), None
        except UnicodeDecodeError as error:
            raise ProtocolError("The SDP offer is not text.", param="sdp") from error
    if media_type == "multipart/form-data":
        async with request.form() as form:
            offer = await _field(form, "sdp")
            if offer is not None:
                return offer, await _field(form, "session")
    raise ProtocolError(
        "Send an SDP offer as application/sdp, or as `sdp` in a form.",
        "missing_required_parameter",
        "sdp",
    )


async def _field(form: FormData, name: str) -> str | None:
    value = form.get(name)
    if isinstance(value, UploadFile):
        return (await value.read()).decode(errors="replace")
    return value
