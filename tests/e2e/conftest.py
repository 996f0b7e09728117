"""A real server, a real browser with a fake microphone, and ears for what the browser received."""

import base64
import contextlib
import io
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import jiwer
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from omni import assets, config
from omni.media.audio import resample
from omni.models.embedded.whisper import Whisper

MEDIA = Path(__file__).parent.parent / "media"
MICROPHONE = Path(__file__).parent.parent / "microphone.js"
DUPLEX = (
    "brain.checkpoint=tests/golden/minicpmo45-tiny",
    "brain.duplex.seed=7",
    "brain.duplex.admit_below_ms=0",  # however slow the machine
    "brain.duplex.num_forced_listens=3",
    "brain.duplex.listen_scale=0.5",
    "brain.duplex.unit_tokens=6",  # enough to say something, and quickly done
)
STUB = ("--config", "stub", "--runtime", "local", "--set=server.max_sessions=64")
MICROPHONE_RATE_HZ = 48000
LEAD_S = 12
READY_S = 600
REPLY_S = 180
PATIENT = tuple(  # on a slow machine only: what is reached here is a fault
    f"--set=deadlines.{state}_s=120"
    for state in ("recognise", "first_token", "next_token", "first_speech", "next_speech")
)
LAUNCH = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshot", type=Path, help="save a picture of a conversation here")


# ---- the server


@dataclass
class Server:
    """`omni serve` in its own process, on one port for life, so that it can die and come back."""

    arguments: tuple[str, ...]
    log: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [str(Path(sys.executable).with_name("omni")), "serve", *self.arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--set", f"server.port={self.port}"], stdout=log, stderr=log
            )
        deadline = time.monotonic() + READY_S
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"the server did not get ready:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.5)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def new_server(folder: Path, *arguments: str) -> Server:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return Server(arguments, folder / "server.log", port)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The product as people run it: Ray, the embedded brain."""
    made = new_server(tmp_path_factory.mktemp("server"), *PATIENT)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def stub_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without models, for what concerns the page alone."""
    made = new_server(tmp_path_factory.mktemp("stub"), *STUB)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def mortal_server(tmp_path: Path) -> Iterator[Server]:
    """The same for one test, which may end it."""
    made = new_server(tmp_path, *STUB)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def duplex_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The minicpm-o brain on Ray: a tiny random checkpoint that listens for three seconds, and
    then speaks for as long as it is let."""
    made = new_server(
        tmp_path_factory.mktemp("duplex"),
        "--config",
        "configs/minicpm-o.yaml",
        *(f"--set={setting}" for setting in DUPLEX),
    )
    made.start()
    yield made
    made.stop()


# ---- the browser


def _device(path: Path, name: str) -> Path:
    """What the browser's own fake microphone plays from the moment it is opened: a recording once,
    late enough for the call to be up by then, however slow the machine."""
    samples, rate_hz = soundfile.read(MEDIA / name, dtype="float32", always_2d=True)
    sound = resample(samples.mean(axis=1), rate_hz, MICROPHONE_RATE_HZ)
    lead = np.zeros(LEAD_S * MICROPHONE_RATE_HZ, np.float32)
    soundfile.write(path, np.concatenate([lead, sound]), MICROPHONE_RATE_HZ, subtype="PCM_16")
    return path


@dataclass(frozen=True)
class Recording:
    """What the browser received, and the page's phases on the same clock (ms)."""

    samples: NDArray[np.float32]  # [n] at 16 kHz
    phases: list[tuple[str, float]]

    def between(self, start_ms: float, end_ms: float | None = None) -> NDArray[np.float32]:
        """The sound from one time to another, or to the end."""
        end = None if end_ms is None else int(end_ms * 16)
        return self.samples[int(max(0, start_ms) * 16) : end]

    def times_of(self, phase: str) -> list[float]:
        return [at_ms for name, at_ms in self.phases if name == phase]


class Playground:
    """The page in a browser, as a user handles it."""

    def __init__(self, page: Any, screenshot: Path | None) -> None:
        self.page = page
        self.troubles: list[str] = []
        self.hosts: set[str] = set()
        self._screenshot = screenshot
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))

    def start(self) -> None:
        self.page.get_by_role("button", name="Start talking").click()

    def say(self, recording: Path) -> None:
        """Speak into the page's microphone, now."""
        self.page.evaluate("say", base64.b64encode(recording.read_bytes()).decode())

    def instruct(self, words: str) -> None:
        summary = self.page.locator("summary", has_text="Instructions")
        summary.click()
        self.page.get_by_label("Instructions").fill(words)
        summary.click()

    def take_microphone_as_it_is(self) -> None:
        """A recording has no echo to remove, and must arrive unaltered."""
        self.page.get_by_label("Remove echo and noise").uncheck()

    def write(self, words: str) -> None:
        self.page.get_by_label("Message").fill(words)
        self.page.keyboard.press("Enter")

    def await_phase(self, *phases: str) -> None:
        wanted = ", ".join(f'body[data-phase="{phase}"]' for phase in phases)
        self.page.locator(wanted).wait_for()

    def turn(self, role: str, number: int) -> Any:
        """The row of the `number`th thing that `role` said, from 1; waits until it is there."""
        row = self.page.locator(f"#transcript .{role}").nth(number - 1)
        row.wait_for()
        return row

    def await_state(self, row: Any, state: str) -> str:
        """Wait for a row to be open, done or cut; returns its words."""
        row.and_(self.page.locator(f'[data-state="{state}"]')).wait_for()
        return str(row.locator("p").inner_text())

    def picture(self) -> None:
        if self._screenshot:
            self._screenshot.parent.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=self._screenshot)

    def recording(self) -> Recording:
        """Ends the recording and returns it."""
        taken = self.page.evaluate("takeRecording()")
        samples = _decode(bytes(taken["audio"]))
        return Recording(samples, [(name, at_ms) for name, at_ms in taken["phases"]])

    def account(self) -> str:
        """What happened, for whoever reads of a failed test."""
        alert = self.page.get_by_role("alert").inner_text()
        return "\n".join([self.page.evaluate("eventLog()"), f"alert: {alert}", *self.troubles])

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(message.text)


def _decode(container: bytes) -> NDArray[np.float32]:
    resampler = av.AudioResampler("flt", "mono", 16000)
    pieces = []
    with av.open(io.BytesIO(container)) as media:
        for frame in media.decode(audio=0):
            pieces += [out.to_ndarray()[0] for out in resampler.resample(frame)]
    return np.concatenate(pieces)


OpenPage = Callable[..., Playground]


@pytest.fixture
def open_page(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[OpenPage]:
    """`open_page(server, camera=film)`: its microphone is silent but for what it is told to `say`.
    `microphone="question.wav"` is said by the browser's own fake device instead, once;
    `is_allowed=False` refuses the microphone and the camera."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with contextlib.ExitStack() as stack:
        playwright = stack.enter_context(sync_api.sync_playwright())

        def open_(
            server: Server,
            *,
            microphone: str = "",
            camera: Path | None = None,
            is_allowed: bool = True,
        ) -> Playground:
            consent = "use-fake-ui-for-media-stream" if is_allowed else "deny-permission-prompts"
            sources = []
            if microphone:
                sound = _device(tmp_path / "microphone.wav", microphone)
                sources.append(f"--use-file-for-fake-audio-capture={sound}%noloop")
            if camera:
                sources.append(f"--use-file-for-fake-video-capture={camera}")
            browser = playwright.chromium.launch(
                executable_path=chromium, args=[*LAUNCH, f"--{consent}", *sources]
            )
            stack.callback(browser.close)
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(REPLY_S * 1000)
            page.add_init_script(path=Path(__file__).with_name("recorder.js"))
            if is_allowed and not microphone:
                page.add_init_script(path=MICROPHONE)
            playground = Playground(page, request.config.getoption("--screenshot", None))
            page.goto(server.url)
            stack.callback(lambda: print(playground.account(), server.log.read_text()[-4000:]))
            return playground

        yield open_


# ---- the ears


@pytest.fixture(scope="session")
def recognise() -> Callable[[NDArray[np.float32]], str]:
    """What a listener understands: samples [n] at 16 kHz to words."""
    whisper = Whisper(assets.folder(config.load("embedded"), "whisper"), num_threads=2)
    return lambda samples: whisper.transcribe(samples, language="en").text


@pytest.fixture(scope="session")
def word_error_rate() -> Callable[[str, str], float]:
    def rate(shown: str, heard: str) -> float:
        return float(jiwer.wer(_plain(shown), _plain(heard)))

    return rate


def _plain(text: str) -> str:
    return re.sub(r"[^\w' ]+", " ", text.lower().replace("’", "'"))
