"""The page's camera: what it sends, what it shows, and what is said of it."""

import base64
import io
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from omni import assets, config
from omni.models.embedded.kokoro import RATE_HZ, Kokoro
from tests.e2e.test_page import FAINT, NAMELESS
from tests.pictures import MEDIA, encoded, photo
from tests.pictures import page as printed

pytestmark = pytest.mark.browser

FILM_HZ = 4
STREET = ("car", "person", "people", "bicycle", "motorcycle", "traffic light", "truck")
SENT = """() => {
  window.sent = [];
  const send = RTCDataChannel.prototype.send;
  RTCDataChannel.prototype.send = function (text) {
    const event = JSON.parse(text);
    if (event.type === "input_image_buffer.append") sent.push({ ...event, size: text.length });
    return send.call(this, text);
  };
}"""
TRACK = """async () => {
  const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  const peer = (window.peer = new RTCPeerConnection());
  media.getTracks().forEach((track) => peer.addTrack(track, media));
  window.notes = [];
  peer.createDataChannel("oai-events").onmessage = ({ data }) => {
    const event = JSON.parse(data);
    if (event.type === "omni.image.seen") notes.push(event.note);
  };
  await peer.setLocalDescription();
  await new Promise((resolve) => {
    peer.onicegatheringstatechange = () => peer.iceGatheringState === "complete" && resolve();
  });
  const answer = await fetch("/v1/realtime/calls?extensions=omni", {
    method: "POST",
    headers: { "Content-Type": "application/sdp" },
    body: peer.localDescription.sdp,
  });
  await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
}"""
SCENES = """() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 480 });
  const paper = canvas.getContext("2d");
  let film = [];
  let index = 0;
  setInterval(() => film.length && paper.drawImage(film[index++ % film.length], 0, 0), 250);
  const media = navigator.mediaDevices;
  const others = media.getUserMedia.bind(media);
  media.getUserMedia = async (wanted) => (wanted.video ? canvas.captureStream() : others(wanted));
  window.show = async (pictures) => {
    const files = pictures.map((jpeg) => Uint8Array.from(atob(jpeg), (c) => c.charCodeAt(0)));
    film = await Promise.all(files.map((bytes) => createImageBitmap(new Blob([bytes]))));
  };
}"""
MAX_MESSAGE_BYTES = 262_144  # aiortc's


def film(path: Path, pictures: Iterator[NDArray[np.uint8]]) -> Path:
    """RGB pictures [H, W, 3] as what the browser's fake camera shows, over and over."""
    with path.open("wb") as out:
        for picture in pictures:
            height, width, _ = picture.shape
            if not out.tell():
                out.write(f"YUV4MPEG2 W{width} H{height} F{FILM_HZ}:1 Ip A1:1 C420\n".encode())
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            out.write(b"FRAME\n" + frame.reformat(format="yuv420p").to_ndarray().tobytes())
    return path


def shown(name: str, for_s: int) -> Iterator[NDArray[np.uint8]]:
    picture = np.asarray(ImageOps.pad(Image.fromarray(photo(name)), (640, 480)))
    return iter([picture] * (for_s * FILM_HZ))


def street() -> Iterator[NDArray[np.uint8]]:
    """Of the film of bicycles, at its own pace, where somebody and a car are always in sight."""
    step = 25 // FILM_HZ
    with av.open(str(MEDIA / "bikes.mp4")) as media:
        for frame in itertools.islice(media.decode(video=0), 5 * step, 8 * step, step):
            picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
            yield np.asarray(ImageOps.pad(picture, (640, 480)))


def noise(width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """Hard to compress, and no two pictures are alike."""
    draws = np.random.default_rng(0)
    for _ in range(4):
        coarse = draws.integers(0, 256, (height // 80, width // 80, 3), np.uint8)
        picture = coarse.repeat(80, 0).repeat(80, 1) // 2
        yield picture + draws.integers(0, 48, picture.shape, np.uint8)


def switch_on(page: Any) -> None:
    """A call with the camera on; what it sends is kept."""
    page.page.evaluate(SENT)
    page.start()
    page.await_phase("listening")
    page.page.get_by_role("button", name="Camera").click()
    page.page.get_by_label("What the camera shows").wait_for()


def stills(page: Any, number: int) -> list[dict[str, Any]]:
    """The first that were sent, once there are so many."""
    page.page.wait_for_function("(number) => sent.length >= number", arg=number)
    return list(page.page.evaluate("sent"))


def decoded(still: dict[str, Any]) -> Image.Image:
    header, payload = still["image"].split(",")
    assert header == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(payload)))


def gaps_ms(sent: list[dict[str, Any]]) -> list[int]:
    return [
        after["captured_ms"] - before["captured_ms"] for before, after in itertools.pairwise(sent)
    ]


def test_it_is_off_until_it_is_turned_on(open_page, stub_server, tmp_path):
    page = open_page(stub_server, camera=film(tmp_path / "cat.y4m", shown("cat.png", 5)))
    dom = page.page
    assert not dom.get_by_role("button", name="Camera").is_visible()
    switch_on(page)
    (still, *_) = stills(page, 1)
    assert decoded(still).size == (640, 480)
    seen = dom.get_by_label("Pictures that were seen").locator("figcaption")
    seen.first.get_by_text("a picture of").wait_for()
    dom.get_by_role("button", name="Camera").click()
    assert not dom.get_by_role("region", name="Sight").is_visible()
    assert dom.evaluate("document.getElementById('self-view').srcObject") is None
    dom.get_by_role("button", name="Camera").click()
    stills(page, 2)
    dom.get_by_role("button", name="Stop").click()
    assert not dom.get_by_role("region", name="Sight").is_visible()
    assert page.troubles == []


def test_a_still_scene_is_looked_at_seldom(open_page, stub_server, tmp_path):
    page = open_page(stub_server, camera=film(tmp_path / "cat.y4m", shown("cat.png", 5)))
    switch_on(page)
    assert min(gaps_ms(stills(page, 3))) >= 4000  # less than five: the first may be late


def test_a_moving_one_often_and_never_in_more_than_a_message_holds(
    open_page, stub_server, tmp_path
):
    page = open_page(stub_server, camera=film(tmp_path / "noise.y4m", noise(1920, 1040)))
    switch_on(page)
    assert np.median(gaps_ms(stills(page, 6))) < 4000
    page.page.get_by_role("button", name="HD").click()
    number = len(page.page.evaluate("sent"))
    sent = stills(page, number + 2)
    width, height = decoded(sent[-1]).size
    assert 1_700_000 < width * height <= 1_800_000
    assert all(still["size"] < MAX_MESSAGE_BYTES for still in sent)
    assert page.page.get_by_role("alert").inner_text() == ""


def test_its_panel_is_for_everybody(open_page, stub_server, tmp_path):
    page = open_page(stub_server, camera=film(tmp_path / "cat.y4m", shown("cat.png", 5)))
    dom = page.page
    dom.set_viewport_size({"width": 360, "height": 740})
    switch_on(page)
    assert dom.evaluate(NAMELESS) == []
    assert dom.evaluate(FAINT) == []
    assert dom.evaluate("document.documentElement.scrollWidth") <= 360
    for control in dom.get_by_role("button").all():
        box = control.bounding_box()
        assert box["height"] >= 44, control.inner_text()
    options = dom.get_by_label("Which camera").locator("option")
    assert options.count() == 2
    dom.get_by_label("Which camera").select_option(index=1)
    number = len(dom.evaluate("sent"))
    stills(page, number + 1)


def test_a_blocked_camera_is_told(open_page, stub_server):
    page = open_page(stub_server, is_allowed=False)
    page.write("Hello there.")
    page.turn("assistant", 1)
    page.page.get_by_role("button", name="Camera").click()
    page.page.get_by_role("alert").get_by_text("The camera is blocked").wait_for()


def test_a_browser_may_send_a_track_instead(open_page, stub_server, tmp_path):
    scenes = [*shown("cat.png", 3), *shown("coffee.png", 3)]
    page = open_page(stub_server, camera=film(tmp_path / "film.y4m", iter(scenes)))
    page.page.evaluate(TRACK)
    page.page.wait_for_function("() => new Set(notes).size >= 2")


# ---- with eyes


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A sentence in our own voice, as a recording."""
    profile = config.load("embedded")
    kokoro = Kokoro(
        assets.resolve(profile, "kokoro.onnx"),
        assets.resolve(profile, "kokoro/vocab.json"),
        assets.folder(profile, "kokoro/voices"),
        num_threads=2,
    )
    folder = tmp_path_factory.mktemp("said")

    def said(text: str) -> Path:
        path = folder / f"{abs(hash(text))}.wav"
        soundfile.write(path, kokoro.synthesise(text, "am_michael", 1.0).samples, RATE_HZ)
        return path

    return said


@pytest.mark.models
@pytest.mark.ray
def test_it_says_what_the_camera_shows(open_page, server, voice):
    sign = np.asarray(printed("OPEN UNTIL SEVEN", "Closed on Sundays"))
    what, read = voice("What do you see?"), voice("What does the sign say?")
    page = open_page(server)
    page.take_microphone_as_it_is()
    page.page.evaluate(SCENES)
    show(page, shown("cat.png", 1))
    switch_on(page)

    def asked(question: Path, seen: str) -> str:
        captions.first.get_by_text(re.compile(seen)).wait_for()
        page.await_phase("listening")
        page.say(question)
        return page.await_state(page.turn("assistant", next(numbers)), "done").lower()

    captions = page.page.get_by_label("Pictures that were seen").locator("figcaption")
    numbers = itertools.count(1)
    assert "cat" in asked(what, "cat")
    show(page, shown("coffee.png", 1))
    coffee = asked(what, "cup|coffee|espresso")
    assert any(word in coffee for word in ("cup", "coffee", "espresso")), coffee
    page.picture()
    show(page, iter([sign]))
    assert "open until seven" in asked(read, "OPEN UNTIL SEVEN")
    show(page, street())
    bikes = asked(what, "|".join(STREET))
    assert sum(word in bikes for word in STREET) >= 2, bikes
    assert all(caption.strip() for caption in captions.all_inner_texts())
    assert page.troubles == []


def show(page: Any, film: Iterator[NDArray[np.uint8]]) -> None:
    """What the scripted camera shows from now on, over and over: pictures [H, W, 3]."""
    scaled = (ImageOps.pad(Image.fromarray(picture), (640, 480)) for picture in film)
    page.page.evaluate("show", [base64.b64encode(encoded(one)).decode() for one in scaled])
