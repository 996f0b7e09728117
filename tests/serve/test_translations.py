"""Translations by the stock SDK: connect, speak, be translated, close; and secrets for browsers."""

import base64
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from omni.media.audio import encode
from tests.serve.conftest import Live, living

KEY = "sk-the-servers-own"


async def test_the_stock_client_is_translated(live: Live) -> None:
    client = AsyncOpenAI(api_key="none", base_url=f"{live.url}/v1")
    tone = np.full(24000, 0.1, np.float32)
    sound = encode(np.concatenate([tone, np.zeros(48000, np.float32)]), "pcm16")
    async with client.realtime.translations.connect(model="gpt-realtime-translate") as connection:
        assert (await connection.recv()).type == "session.created"
        await connection.session.update(session={"audio": {"output": {"language": "de"}}})
        updated = await connection.recv()
        assert updated.type == "session.updated"
        assert updated.session.audio.output.language == "en"  # there is no German voice
        for start in range(0, len(sound), 9600):
            audio = base64.b64encode(sound[start : start + 9600]).decode()
            await connection.session.input_audio_buffer.append(audio=audio)
        told = []
        while not told or told[-1] != "session.output_audio.delta":
            told.append((await connection.recv()).type)
        assert "session.input_transcript.delta" in told
        await connection.session.close()
        async for event in connection:
            told.append(event.type)
    assert told[-1] == "session.closed"
    assert "session.output_transcript.delta" in told


@pytest.fixture(scope="module")
def guarded() -> Iterator[Live]:
    with living([], KEY) as live:
        yield live


async def test_a_browser_is_translated_with_a_lent_secret(guarded: Live) -> None:
    base = f"{guarded.url}/v1"
    wish = {"model": "gpt-realtime-translate", "audio": {"output": {"language": "de"}}}
    async with AsyncOpenAI(api_key=KEY, base_url=base) as backend:
        lent = await backend.realtime.translations.client_secrets.create(
            session=wish,  # type: ignore[arg-type]
            expires_after={"anchor": "created_at", "seconds": 60},
        )
    assert lent.value.startswith("ek_")
    assert (lent.session.type, lent.session.audio.output.language) == ("translation", "en")
    async with (
        AsyncOpenAI(api_key=lent.value, base_url=base) as client,
        client.realtime.translations.connect(model="any") as connection,
    ):
        created = await connection.recv()
        assert created.type == "session.created"
        await connection.session.close()
        assert [event.type async for event in connection][-1] == "session.closed"


async def test_a_secret_opens_only_what_it_was_lent_for(guarded: Live) -> None:
    own = {"Authorization": f"Bearer {KEY}"}
    root = f"{guarded.url}/v1/realtime"
    lent = {
        "": httpx.post(f"{root}/client_secrets", json={}, headers=own).json()["value"],
        "/translations": httpx.post(
            f"{root}/translations/client_secrets",
            json={"session": {"model": "x"}, "uses": 1},
            headers=own,
        ).json()["value"],
    }
    for path, other in (("", "/translations"), ("/translations", "")):
        headers = {"Authorization": f"Bearer {lent[path]}"}
        with pytest.raises(InvalidStatus) as refusal:
            await connect(guarded.ws_url + other, additional_headers=headers)
        assert refusal.value.response.status_code == 403
        async with connect(guarded.ws_url + path, additional_headers=headers) as socket:
            assert "session.created" in str(await socket.recv())
    headers = {"Authorization": f"Bearer {lent['/translations']}"}
    with pytest.raises(InvalidStatus) as refusal:
        await connect(f"{guarded.ws_url}/translations", additional_headers=headers)
    assert refusal.value.response.status_code == 401


def test_settings_that_are_wrong_are_told_when_the_secret_is_lent(guarded: Live) -> None:
    answer = httpx.post(
        f"{guarded.url}/v1/realtime/translations/client_secrets",
        json={"session": {"audio": {"output": {"language": 5}}}},
        headers={"Authorization": f"Bearer {KEY}"},
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "session.audio.output.language"
