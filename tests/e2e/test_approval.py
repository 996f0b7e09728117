"""A tool that a backend brought into a call asks whoever is at the page for leave to run."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.e2e.conftest import Server, new_server
from tests.mcp_shop import shop_open

pytestmark = pytest.mark.browser

EVENT_S = 120


@pytest.fixture
def shop() -> Iterator[str]:
    with shop_open() as url:
        yield url


@pytest.fixture
def server(tmp_path: Path, shop: str) -> Iterator[Server]:
    """One that may speak to the shop."""
    allowed = f"tools.mcp_servers=['{shop}']"
    made = new_server(tmp_path, "--config", "stub", "--runtime", "local", "--set", allowed)
    made.start()
    yield made
    made.stop()


def until(backend: ClientConnection, kind: str) -> None:
    while json.loads(backend.recv(timeout=EVENT_S))["type"] != kind:
        pass


def test_a_tool_runs_only_with_leave(open_page, server, shop):
    page = open_page(server)
    with page.page.expect_response(lambda answer: "/v1/realtime/calls" in answer.url) as called:
        page.start()
    call_id = called.value.headers["location"].rsplit("/", 1)[1]
    page.await_phase("listening")
    address = f"{server.url.replace('http', 'ws')}/v1/realtime?call_id={call_id}"
    with connect(address, open_timeout=EVENT_S) as backend:
        tool = {"type": "mcp", "server_label": "shop", "server_url": shop}
        session = {"type": "realtime", "output_modalities": ["text"], "tools": [tool]}
        backend.send(json.dumps({"type": "session.update", "session": session}))
        until(backend, "mcp_list_tools.completed")
        page.write("The price of tea")
        request = page.turn("tool", 1)
        assert page.await_state(request, "asked").startswith("price({")
        request.get_by_role("button", name="Refuse").click()
        assert "refused" in page.await_state(request, "done")
        assert request.get_by_role("button").count() == 0
        page.await_state(page.turn("assistant", 1), "done")  # told that it may not
        page.write("The price of tea")
        request = page.turn("tool", 2)
        page.await_state(request, "asked")
        request.get_by_role("button", name="Allow").click()
        call = page.turn("tool", 3)
        assert "tea costs 3 euros" in page.await_state(call, "done")
        page.await_state(page.turn("assistant", 2), "done")
    assert page.troubles == []
