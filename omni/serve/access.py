"""Who may talk to the server: the key, and the web pages whose scripts may use it.

A browser sends any page's requests to our address, so an Origin must be known; other programs send
none. The page's own origin counts only where a forged name cannot pass for it (DNS rebinding).
"""

import hmac
import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from omni.errors import ConfigError, ProtocolError

KEY_SUBPROTOCOL = "openai-insecure-api-key."
SUBPROTOCOL = "realtime"


class Access:
    """Args:
    key: what clients must present; None: nothing.
    origins: further web origins that may connect, e.g. `https://kiosk.example`.
    """

    def __init__(self, key: str | None, origins: Collection[str] = ()) -> None:
        self._key = key.encode() if key else None
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    def check(self, headers: Mapping[str, str], subprotocols: Collection[str] = ()) -> None:
        """Raises: ProtocolError: an unknown page (`origin_not_allowed`) or no valid key."""
        origin = headers.get("origin")
        if origin is not None and not self.allows(origin, headers.get("host", "")):
            raise ProtocolError(
                "Pages of this origin may not connect; see server.allowed_origins.",
                "origin_not_allowed",
            )
        if self._key is None:
            return
        given = _given_key(headers, subprotocols)
        if given is None or not hmac.compare_digest(given.encode(), self._key):
            raise ProtocolError("Missing or wrong API key.", "invalid_api_key")

    def allows(self, origin: str, host: str) -> bool:
        """Whether scripts of `origin` may use the server that they reach as `host`."""
        try:
            parts = urlsplit(origin.lower())
            name, _ = parts.hostname, parts.port
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or not name:
            return False
        if origin.lower() in self._origins or is_loopback(name):
            return True
        return parts.netloc == host.lower() and (self._key is not None or _is_address(name))


def check_exposure(host: str, key: str | None, *, is_open: bool) -> None:
    """Raises: ConfigError: others could reach the server, and nothing keeps them out."""
    if key is None and not is_open and not is_loopback(host):
        raise ConfigError(
            f"refusing to listen on {host} without a key: set OMNI_API_KEY, or server.open_access "
            "to let in anybody who can reach it",
            param="server.host",
        )


def is_loopback(host: str) -> bool:
    """`localhost`, 127.x.y.z or ::1, and no name that merely looks like them."""
    if host == "localhost":
        return True
    return _is_address(host) and ipaddress.ip_address(host).is_loopback


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _given_key(headers: Mapping[str, str], subprotocols: Collection[str]) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    # Browsers cannot set a websocket's headers.
    offered = (p for p in subprotocols if p.startswith(KEY_SUBPROTOCOL))
    return next((p.removeprefix(KEY_SUBPROTOCOL) for p in offered), None)
