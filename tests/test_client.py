"""The client that `omni talk`, `chat` and `bench` speak through."""

import asyncio
import time

from omni.client import Client


class Line:
    """A connection that swallows what is sent."""

    async def send(self, message: str) -> None:
        assert message


async def test_what_is_left_of_one_reply_does_not_end_the_next() -> None:
    client = Client(Line())  # type: ignore[arg-type]
    writing = asyncio.create_task(client.write("Hello."))
    timings = {"type": "omni.response.timings", "first_token_ms": 5.0}
    done = {"type": "response.done", "response": {"status": "completed"}}
    for event in (timings, {"type": "response.created"}, done, timings):
        client._events.put_nowait({**event, "arrived_s": time.perf_counter() + 1})
    async with asyncio.timeout(60):
        exchange = await writing
    assert exchange.status == "completed"
    assert client._events.empty()
