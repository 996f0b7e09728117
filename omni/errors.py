"""The one error tree, and how each error looks on the wire.

    OmniError
    ├── ConfigError            a profile or a setting is wrong (names the key)
    ├── AssetError             a model file is missing, wrong or cannot be fetched (names the file)
    ├── ProtocolError          a client sent something we cannot accept (names the field)
    ├── MediaError             sound or pictures that cannot be decoded
    ├── SessionError
    │   ├── SessionClosed      the session is over
    │   └── SessionCapacity    no room for another session
    └── StageError             a model stage failed
        ├── StageTimeout       it did not answer in time
        └── StageLost          its worker died

Cancellation is not an error. `to_wire` maps every one of them, once.
"""

from typing import Literal, NamedTuple

WireType = Literal[
    "invalid_request_error", "rate_limit_error", "authentication_error", "server_error"
]


class OmniError(Exception):
    """Base of everything omni raises on purpose.

    Args:
        message: one sentence a user can act on; never the user's words or media.
        code: a stable machine-readable code (the Realtime protocol's where it has one).
        param: the dotted name of the offending field, if there is one.
    """

    default_code = "internal_error"

    def __init__(self, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.param = param


class ConfigError(OmniError):
    default_code = "invalid_config"


class AssetError(OmniError):
    default_code = "model_file_unavailable"


class ProtocolError(OmniError):
    default_code = "invalid_value"


class MediaError(OmniError):
    default_code = "invalid_media"


class SessionError(OmniError):
    default_code = "session_error"


class SessionClosed(SessionError):
    default_code = "session_closed"


class SessionCapacity(SessionError):
    default_code = "session_limit_reached"


class StageError(OmniError):
    default_code = "stage_failed"


class StageTimeout(StageError):
    default_code = "stage_timeout"


class StageLost(StageError):
    default_code = "stage_lost"


class WireError(NamedTuple):
    """An error as clients see it: Realtime `error` fields, HTTP status, websocket close code.

    `close_code` is None where the session goes on.
    """

    type: WireType
    code: str
    message: str
    param: str | None
    http_status: int
    close_code: int | None


def to_wire(error: BaseException) -> WireError:
    """Map any exception to what a client may see; unknown ones say nothing of their insides."""
    match error:
        case ProtocolError(code="invalid_api_key"):
            return WireError("authentication_error", error.code, error.message, None, 401, 1008)
        case ProtocolError(code="origin_not_allowed"):
            return WireError("authentication_error", error.code, error.message, None, 403, 1008)
        case ProtocolError(code="insufficient_permissions"):
            return WireError("authentication_error", error.code, error.message, None, 403, 1008)
        case ProtocolError(code="call_not_found" | "model_not_found" | "not_found"):
            return WireError(
                "invalid_request_error", error.code, error.message, error.param, 404, 1008
            )
        case ProtocolError(code="message_too_large"):
            return WireError("invalid_request_error", error.code, error.message, None, 413, 1009)
        case ProtocolError() | MediaError():
            return WireError(
                "invalid_request_error", error.code, error.message, error.param, 400, None
            )
        case SessionCapacity():
            return WireError("rate_limit_error", error.code, error.message, None, 429, 1013)
        case StageError(code="context_length_exceeded"):
            return WireError("invalid_request_error", error.code, error.message, None, 400, None)
        case StageTimeout() | StageLost():
            return WireError("server_error", error.code, error.message, None, 503, None)
        case StageError(code="not_ready") | SessionError(code="shutting_down"):
            return WireError("server_error", error.code, error.message, None, 503, 1013)
        case SessionClosed():
            return WireError("invalid_request_error", error.code, error.message, None, 410, 1000)
        case OmniError():
            return WireError("server_error", error.code, error.message, error.param, 500, None)
        case _:
            return WireError(
                "server_error",
                "internal_error",
                "Something went wrong on our side.",
                None,
                500,
                None,
            )
