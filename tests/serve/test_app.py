"""The HTTP face: health, figures, the page and its armour."""

import asyncio

import httpx
import pytest

from omni.config import load
from omni.errors import StageError
from omni.pipeline import LocalPipeline
from omni.serve.app import create_app
from omni.serve.gateway import Gateway
from omni.stages.build import build_stage
from tests.serve.conftest import Live, Serve


def test_a_ready_server_says_so_stage_by_stage(live: Live) -> None:
    for path in ("/health", "/readyz"):
        response = httpx.get(live.url + path)
        assert response.status_code == 200
    body = response.json()
    assert body["status"] == "ready"
    assert {stage["stage"] for stage in body["stages"]} == {"vad", "hear", "see", "think", "speak"}
    assert httpx.get(f"{live.url}/healthz").status_code == 200


def test_the_page_and_its_armour(live: Live) -> None:
    response = httpx.get(live.url)
    assert response.status_code == 200
    assert "<title>" in response.text
    assert "default-src 'self'" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert httpx.get(f"{live.url}/app.js").headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize("path", ["/../pyproject.toml", "/%2e%2e/pyproject.toml", "/nothing"])
def test_only_the_page_is_served(live: Live, path: str) -> None:
    assert httpx.get(live.url + path).status_code == 404


def test_figures_for_prometheus(live: Live) -> None:
    text = httpx.get(f"{live.url}/metrics").text
    assert "omni_sessions 0.0" in text
    assert 'omni_stage_ready{stage="speak"} 1.0' in text


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("http://localhost:3000", True),
        ("https://kiosk.example", True),
        ("http://evil.example", False),
        ("http://localhost.evil.example", False),
    ],
)
def test_browsers_may_call_from_known_origins(serve: Serve, origin: str, is_allowed: bool) -> None:
    live = serve('server.allowed_origins=["https://kiosk.example"]')
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, x-openai-agents-sdk",
    }
    response = httpx.options(f"{live.url}/v1/realtime/calls", headers=headers)
    allowed = response.headers.get("access-control-allow-origin")
    assert (allowed == origin) is is_allowed
    assert (response.status_code == 200) is is_allowed


async def test_until_ready_the_answer_is_503() -> None:
    never = asyncio.Event()

    class SlowPipeline(LocalPipeline):
        async def start(self) -> None:
            await never.wait()

    config = load("stub")
    app = create_app(config, SlowPipeline([build_stage(config, "vad")]))
    gateway: Gateway = app.state.gateway
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            health = await http.get("/health")
            assert (health.status_code, health.json()["status"]) == (503, "starting")
            assert (await http.get("/healthz")).status_code == 200
        with pytest.raises(StageError) as refusal:
            await gateway.open(None, None, None)  # type: ignore[arg-type]
        assert refusal.value.code == "not_ready"


async def test_a_stage_that_cannot_load_is_named() -> None:
    class BrokenPipeline(LocalPipeline):
        async def start(self) -> None:
            raise StageError("hear: out of memory")

    gateway = Gateway(load("stub"), BrokenPipeline([]))
    gateway.start()
    with pytest.raises(StageError, match="hear"):
        await gateway.ready()
    assert gateway.state == "failed"
    await gateway.stop()


@pytest.mark.parametrize("content_type", ["application/sdp", "multipart/form-data; boundary=x"])
def test_a_browser_sees_the_answer_and_the_refusal(serve: Serve, content_type: str) -> None:
    live = serve(key="sk-server")
    url = f"{live.url}/v1/realtime/calls"
    origin = {"Origin": "http://localhost:3000"}
    asked = {
        **origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
    }
    preflight = httpx.options(url, headers=asked)  # browsers send no key with it
    assert preflight.status_code == 200
    allowed = preflight.headers["access-control-allow-headers"]
    assert {"authorization", "content-type", "x-stainless-lang"} <= set(allowed.split(","))
    headers = {**origin, "Content-Type": content_type}
    for key, status in (("sk-server", 400), ("wrong", 401)):
        with_key = {**headers, "Authorization": f"Bearer {key}"}
        answer = httpx.post(url, content=b"v=0", headers=with_key)
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == origin["Origin"]
        assert "Location" in answer.headers["access-control-expose-headers"]
