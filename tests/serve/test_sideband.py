"""A call and the backend beside it: both see one session, and either may lead it."""

import json
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedOK, InvalidStatus

from tests.serve.conftest import Live, Serve
from tests.serve.test_client_secrets import KEY, bearer, lend
from tests.serve.test_webrtc import SDP, Caller, calling

TEXT = {"output_modalities": ["text"]}


async def read(socket: ClientConnection, kind: str) -> dict[str, Any]:
    while True:
        event: dict[str, Any] = json.loads(await socket.recv())
        if event["type"] == kind:
            return event


def listener() -> Caller:
    caller = Caller()
    caller.peer.addTransceiver("audio")
    return caller


def typed(text: str) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    return {"type": "conversation.item.create", "item": item}


async def test_both_see_and_lead_the_session(live: Live) -> None:
    caller = listener()
    async with calling(live, caller) as path:
        await caller.until("session.created")
        call_id = path.rpartition("/")[2]
        async with connect(f"{live.ws_url}?call_id={call_id}") as backend:
            created = await read(backend, "session.created")
            assert created["session"]["id"] == caller.events[0]["session"]["id"]

            patch = {"type": "realtime", "instructions": "Be brief.", **TEXT}
            await backend.send(json.dumps({"type": "session.update", "session": patch}))
            assert (await read(backend, "session.updated"))["session"]["instructions"]
            assert (await caller.until("session.updated"))["session"]["instructions"] == "Be brief."

            caller.send(typed("hello"))
            seen = await read(backend, "conversation.item.added")
            assert seen == await caller.until("conversation.item.added")

            await backend.send(json.dumps({"type": "response.create"}))
            done = await read(backend, "response.done")
            assert done == await caller.until("response.done")
            assert done["response"]["output"][0]["content"][0]["text"] == "You said hello."


async def test_a_fault_is_told_to_its_causer_alone(live: Live) -> None:
    caller = listener()
    async with calling(live, caller) as path:
        await caller.until("session.created")
        async with connect(f"{live.ws_url}?call_id={path.rpartition('/')[2]}") as backend:
            await read(backend, "session.created")
            await backend.send(json.dumps({"type": "nonsense", "event_id": "mine"}))
            assert (await read(backend, "error"))["error"]["event_id"] == "mine"
            caller.send({"type": "response.cancel", "event_id": "theirs"})
            fault = await caller.until("error")
            assert fault["error"]["event_id"] == "theirs"
            caller.send(typed("x"))
            assert (await read(backend, "conversation.item.added"))["item"]["role"] == "user"


async def test_the_sideband_ends_with_the_call_and_not_the_call_with_it(live: Live) -> None:
    caller = listener()
    async with calling(live, caller) as path:
        await caller.until("session.created")
        url = f"{live.ws_url}?call_id={path.rpartition('/')[2]}"
        async with connect(url) as backend:
            await read(backend, "session.created")
        async with connect(url) as backend:
            await read(backend, "session.created")
            assert httpx.post(f"{live.url}{path}/hangup").status_code == 200
            with pytest.raises(ConnectionClosedOK, match="the call is over"):
                await read(backend, "nothing of that kind")


async def test_an_unknown_call_is_not_found(live: Live) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(f"{live.ws_url}?call_id=rtc_none")
    assert refusal.value.response.status_code == 404
    for action in ("accept", "reject", "refer"):
        answer = httpx.post(f"{live.url}/v1/realtime/calls/rtc_none/{action}", json={})
        assert answer.status_code == 404
        assert "SIP" in answer.json()["error"]["message"]


async def test_a_lent_secret_controls_its_own_call_alone(serve: Serve) -> None:
    live = serve(key=KEY)
    mine, other = (bearer(lend(live)["value"]) for _ in range(2))
    caller = listener()
    async with httpx.AsyncClient(base_url=live.url) as http:
        offer = await caller.offer()
        call = await http.post("/v1/realtime/calls", content=offer, headers={**SDP, **mine})
        assert call.status_code == 201
        path = call.headers["location"]
        with pytest.raises(InvalidStatus) as refusal:
            await connect(
                f"{live.ws_url}?call_id={path.rpartition('/')[2]}", additional_headers=mine
            )
        assert refusal.value.response.status_code == 403
        assert (await http.post(f"{path}/hangup", headers=other)).status_code == 404
        assert (await http.post(f"{path}/hangup", headers=mine)).status_code == 200
    await caller.close()
