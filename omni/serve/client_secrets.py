"""Secrets lent to browsers for a while, so that none ever sees the server's own key.

Law: a secret is kept as its digest alone, and opens only sessions as it was bound to.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field

from omni.errors import OmniError, ProtocolError, SessionCapacity

PREFIX: Final = "ek_"
DEFAULT_SECONDS: Final = 600
MIN_SECONDS, MAX_SECONDS = 10, 7200
MAX_SECRETS: Final = 10_000
REMEMBERED_S: Final = 3600  # after its end, to say that it is over rather than unknown


class ExpiresAfter(BaseModel):
    """`seconds` is clamped to 10..7200."""

    anchor: Literal["created_at"] = "created_at"
    seconds: int | None = None


class SecretRequest(BaseModel):
    """`uses` (sessions, any number by default) and `max_duration_s` (of each) are extensions."""

    expires_after: ExpiresAfter | None = None
    session: dict[str, Any] = Field(default_factory=dict)
    uses: Annotated[int, Field(ge=1)] | None = None
    max_duration_s: Annotated[float, Field(ge=1, le=86400)] | None = None

    @property
    def lasts_s(self) -> int | None:
        return self.expires_after.seconds if self.expires_after else None


class SecretAnswer(BaseModel):
    value: str
    expires_at: int
    session: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """`session_json`: settings that its sessions start with and whose bounds they keep. `uses`:
    sessions it may open, None for any number. `max_duration_s`: how long each may last."""

    session_json: str
    uses: int | None = None
    max_duration_s: float | None = None
    kind: Literal["realtime", "translation"] = "realtime"


@dataclass(slots=True, eq=False)
class Secret:
    """A lent secret, as the server knows it; `expires_s` in seconds since the epoch."""

    terms: Terms
    expires_s: int
    num_used: int = 0

    def spend(self) -> None:
        """Count one session. Raises: ProtocolError: it was used up."""
        if self.terms.uses is not None and self.num_used >= self.terms.uses:
            raise ProtocolError("This client secret was used already.", "invalid_api_key")
        self.num_used += 1

    def refund(self) -> None:
        """The session did not come about."""
        self.num_used -= 1


class Secrets:
    """Args:
    now_s: seconds since the epoch.
    """

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self._secrets: dict[bytes, Secret] = {}

    def lend(self, terms: Terms, seconds: int | None = None) -> tuple[str, Secret]:
        """A new secret's value, told this once, and what is known of it; `seconds` is clamped.

        Raises:
            SessionCapacity: too many are about.
        """
        self._forget()
        if len(self._secrets) >= MAX_SECRETS:
            raise SessionCapacity("Too many client secrets are valid now; try again soon.")
        lasts_s = max(MIN_SECONDS, min(seconds or DEFAULT_SECONDS, MAX_SECONDS))
        value = PREFIX + secrets.token_urlsafe(24)
        secret = Secret(terms, int(self._now_s()) + lasts_s)
        self._secrets[_digest(value)] = secret
        return value, secret

    def find(self, value: str) -> Secret | None:
        """The secret of that value; None if it is none of ours.

        Raises:
            ProtocolError: it has expired.
        """
        secret = self._secrets.get(_digest(value)) if value.startswith(PREFIX) else None
        if secret is not None and self._now_s() >= secret.expires_s:
            raise ProtocolError("This client secret has expired.", "invalid_api_key")
        return secret

    def _forget(self) -> None:
        limit_s = self._now_s() - REMEMBERED_S
        self._secrets = {k: s for k, s in self._secrets.items() if s.expires_s > limit_s}


@contextmanager
def spent(secret: Secret | None) -> Iterator[None]:
    """Counts a session against its secret unless it does not come about."""
    if secret is None:
        yield
        return
    secret.spend()
    try:
        yield
    except OmniError:
        secret.refund()
        raise


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()
