"""Who may talk to the server: keys, lent secrets, and the web pages whose scripts may use it.

A browser sends any page's requests to our address, so an Origin must be known; other programs send
none. The page's own origin counts only where a forged name cannot pass for it (DNS rebinding).
"""

import hmac
import ipaddress
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from omni.errors import ConfigError, ProtocolError
from omni.serve.client_secrets import Secret, Secrets

KEY_SUBPROTOCOL = "openai-insecure-api-key."
SUBPROTOCOL = "realtime"
CALLS = "/v1/realtime/calls/"
LENT_PATHS = {
    "realtime": ("/v1/realtime", "/v1/realtime/calls", "/v1/voices", "/v1/models"),
    "translation": ("/v1/realtime/translations",),
}


class Access:
    """Args:
    keys: any of them lets a client in; none: nothing need be presented.
    origins: further web origins that may connect, e.g. `https://kiosk.example`.
    secrets: what was lent to browsers.
    """

    def __init__(
        self,
        keys: Collection[str] = (),
        origins: Collection[str] = (),
        secrets: Secrets | None = None,
    ) -> None:
        self._keys = tuple(key.encode() for key in keys)
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._secrets = secrets or Secrets()

    def check(
        self, path: str, headers: Mapping[str, str], subprotocols: Collection[str] = ()
    ) -> Secret | None:
        """What whoever asks for `path` presents: a lent secret, or None for all rights.

        Raises:
            ProtocolError: an unknown page (`origin_not_allowed`), no valid key (`invalid_api_key`),
                or a secret that is not for this (`insufficient_permissions`).
        """
        origin = headers.get("origin")
        if origin is not None and not self.allows(origin, headers.get("host", "")):
            raise ProtocolError(
                "Pages of this origin may not connect; see server.allowed_origins.",
                "origin_not_allowed",
            )
        given = _given_key(headers, subprotocols)
        secret = self._secrets.find(given) if given else None
        if secret is not None:
            is_call = path.startswith(CALLS) and secret.terms.kind == "realtime"
            if path not in LENT_PATHS[secret.terms.kind] and not is_call:
                raise ProtocolError(
                    f"This client secret opens {secret.terms.kind} sessions and nothing else.",
                    "insufficient_permissions",
                )
            return secret
        if self._keys and not (given and self._is_key(given)):
            raise ProtocolError("Missing or wrong API key.", "invalid_api_key")
        return None

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
        return parts.netloc == host.lower() and (bool(self._keys) or _is_address(name))

    def _is_key(self, given: str) -> bool:
        # All are compared, each in constant time: how long it takes tells nothing of any of them.
        return sum(hmac.compare_digest(given.encode(), key) for key in self._keys) > 0


def read_keys(variable: str | None, file: Path | None) -> tuple[str, ...]:
    """The keys of an environment variable, separated by commas, and of a file, one a line.

    Raises:
        ConfigError: the file cannot be read or holds none.
    """
    keys = [key.strip() for key in (variable or "").split(",")]
    if file is not None:
        try:
            lines = file.expanduser().read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the key file {file} cannot be read", param="server.api_key_file"
            ) from error
        held = [line.strip() for line in lines if not line.lstrip().startswith("#")]
        if not any(held):
            raise ConfigError(f"there is no key in {file}", param="server.api_key_file")
        keys += held
    return tuple(key for key in keys if key)


def check_exposure(host: str, keys: Collection[str], *, is_open: bool) -> None:
    """Raises: ConfigError: others could reach the server, and nothing keeps them out."""
    if not keys and not is_open and not is_loopback(host):
        raise ConfigError(
            f"refusing to listen on {host} without a key: set OMNI_API_KEY or "
            "server.api_key_file, or server.open_access to let in anybody who can reach it",
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
