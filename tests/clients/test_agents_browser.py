"""@openai/agents-realtime in a headless Chromium, over WebRTC, exactly as published.

The page is the example's; only its microphone is a script, which speaks when the test says so.
"""

import base64
import functools
import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.clients import environments, strict
from tests.clients.conftest import LONG, LONG_REPLY, RATE_HZ
from tests.e2e.conftest import LAUNCH
from tests.serve.conftest import Live

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parent.parent.parent
MICROPHONE = ROOT / "tests" / "microphone.js"
RECORDER = Path(__file__).parent / "node" / "recorder.js"
WAIT_MS = 120_000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing: the test's output is for the test."""


@pytest.fixture(scope="module")
def modules() -> Path:
    return environments.node_modules()


@pytest.fixture(scope="module")
def site(modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The examples as `python3 -m http.server` serves them after `npm install`."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "examples" / "agents.html", folder)
    (folder / "node_modules").symlink_to(modules)
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/agents.html"
        server.shutdown()


@pytest.fixture(scope="module")
def said(question: Path) -> str:
    """The question as the page's microphone takes it."""
    sound, wav = np.frombuffer(question.read_bytes(), "<i2"), BytesIO()
    soundfile.write(wav, sound, RATE_HZ, format="WAV")
    return base64.b64encode(wav.getvalue()).decode()


@pytest.fixture(scope="module")
def page(live: Live, site: str) -> Iterator[Any]:
    """The page, after it was opened and connected."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with ExitStack() as stack:
        playwright = stack.enter_context(sync_api.sync_playwright())
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=LAUNCH)
        stack.callback(browser.close)
        page = browser.new_page()
        page.set_default_timeout(WAIT_MS)
        for script in (MICROPHONE, RECORDER):
            page.add_init_script(path=script)
        page.goto(f"{site}?server={live.url}")
        page.get_by_role("button", name="Start talking").click()
        stack.callback(lambda: print(account(page)))
        yield page


def account(page: Any) -> str:
    """What the page was told, for whoever reads of a failed test."""
    kept = (event for event in page.evaluate("told") if not event["type"].endswith(".delta"))
    return "\n".join(json.dumps(event)[:300] for event in kept)


def line(page: Any, number: int, state: str) -> str:
    """The words of a line of the page, from 1, once it is in that state."""
    row = page.locator(f'#history li:nth-child({number})[data-state="{state}"]')
    row.wait_for()
    return str(row.inner_text())


def answer_to(question: str) -> str:
    assert re.fullmatch(r"You: \d+ tenths", question)
    return f"Omni: {LONG_REPLY.format(text=question.removeprefix('You: '))}"


def told(page: Any, kind: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = page.evaluate("told")
    return [event for event in events if event["type"] == kind]


def await_told(page: Any, kind: str, number: int = 1) -> None:
    """Wait until that many events of a type have come."""
    count = f"told.filter(({{type}}) => type === '{kind}').length"
    page.wait_for_function(f"() => {count} >= {number}")


def write(page: Any, words: str) -> None:
    page.get_by_label("Message").fill(words)
    page.keyboard.press("Enter")


# In the order of the conversation: they share the page.


def test_it_connects_with_a_borrowed_secret(page: Any) -> None:
    page.locator("#stop:enabled").wait_for()
    assert len(told(page, "session.created")) == 1


def test_it_is_answered_by_voice(page: Any, said: str) -> None:
    page.evaluate("say", said)
    await_told(page, "output_audio_buffer.stopped")
    assert line(page, 2, "completed") == answer_to(line(page, 1, "completed"))
    assert page.evaluate("receivedEnergy()") > 0


def test_it_interrupts(page: Any, said: str) -> None:
    silent = page.evaluate("receivedEnergy()")
    write(page, LONG)
    is_heard = "async (silent) => (await receivedEnergy()) > silent + 0.01"
    page.wait_for_function(is_heard, arg=silent)
    page.evaluate("say", said)
    await_told(page, "output_audio_buffer.cleared")
    kept, whole = line(page, 4, "incomplete"), f"Omni: {LONG_REPLY.format(text=LONG)}"
    assert whole.startswith(kept)
    assert kept != whole
    assert len(told(page, "conversation.item.truncated")) == 1
    await_told(page, "output_audio_buffer.stopped", 2)
    assert line(page, 6, "completed") == answer_to(line(page, 5, "completed"))


def test_it_calls_a_tool(page: Any) -> None:
    write(page, "Please get_weather")
    await_told(page, "response.done", 5)
    call, reply = (event["response"]["output"] for event in told(page, "response.done")[-2:])
    assert (call[0]["type"], call[0]["name"]) == ("function_call", "get_weather")
    (part,) = reply[0]["content"]
    assert part["transcript"] == LONG_REPLY.format(text="It is sunny in Please get_weather.")


def test_it_shows_a_picture(page: Any, photo: Path) -> None:
    before = len(told(page, "conversation.item.done"))
    page.locator("#photo").set_input_files(photo)
    await_told(page, "conversation.item.done", before + 1)
    shown = told(page, "conversation.item.done")[-1]["item"]["content"]
    assert [part["type"] for part in shown] == ["input_image"]
    write(page, "What is this?")
    await_told(page, "response.done", 6)
    (part,) = told(page, "response.done")[-1]["response"]["output"][0]["content"]
    assert part["transcript"]


def test_it_hangs_up_without_a_complaint(page: Any, live: Live, modules: Path) -> None:
    page.get_by_role("button", name="Hang up").click()
    page.wait_for_function("() => peers[0].connectionState === 'closed'")
    assert page.get_by_role("alert").inner_text() == ""
    assert told(page, "error") == []
    events = page.evaluate("told")
    assert strict.faults(events) == []
    assert strict.zod_faults(events, modules) == []
