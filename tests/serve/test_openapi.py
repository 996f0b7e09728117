"""The HTTP surface as /openapi.json tells it: true, and never a server error, whatever is sent."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error

from tests.serve.conftest import Live, living

PATHS = {
    "/v1/realtime/calls": {"post"},
    "/v1/realtime/calls/{call_id}": {"delete"},
    "/v1/realtime/calls/{call_id}/hangup": {"post"},
    "/v1/realtime/calls/{call_id}/{action}": {"post"},
    "/v1/realtime/client_secrets": {"post"},
    "/v1/realtime/translations/client_secrets": {"post"},
    "/v1/live/sessions": {"post"},
    "/v1/live/sessions/{session_id}/hangup": {"post"},
    "/v1/live/sessions/{session_id}/fork": {"post"},
    "/v1/live/sessions/{session_id}/content": {"get"},
    "/v1/live/sessions/{session_id}/{action}": {"post"},
    "/v1/chat/completions": {"post"},
    "/v1/audio/speech": {"post"},
    "/v1/audio/transcriptions": {"post"},
    "/v1/models": {"get"},
    "/v1/models/{model}": {"get"},
    "/v1/voices": {"get"},
}


@pytest.fixture(scope="module")
def surface() -> Iterator[Live]:
    with living(["server.max_sessions=64", "server.max_requests=8"], None) as live:
        yield live


OPERATIONS = [(path, method) for path, methods in PATHS.items() for method in methods]


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_no_request_is_a_server_error(surface: Live, path: str, method: str) -> None:
    # Its own pytest plugin does not know this pytest: hypothesis alone drives it.
    described = schemathesis.openapi.from_url(f"{surface.url}/openapi.json")

    @given(case=described[path][method.upper()].as_strategy())
    @settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def probe(case: Any) -> None:
        case.call_and_validate(checks=[not_a_server_error], timeout=60)

    probe()


def test_every_route_is_described(surface: Live) -> None:
    told = httpx.get(f"{surface.url}/openapi.json").json()["paths"]
    assert {path: set(told[path]) for path in told if path.startswith("/v1/")} == PATHS


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/audio/speech", "/v1/realtime/client_secrets"]
)
def test_bodies_are_typed(surface: Live, path: str) -> None:
    told = httpx.get(f"{surface.url}/openapi.json").json()
    body = told["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    fields = told["components"]["schemas"][body["$ref"].rpartition("/")[2]]["properties"]
    assert len(fields) >= 4
