"""A watch over a camera with real eyes, on a clock that jumps: told in time, once, not falsely."""

from collections.abc import Iterator
from itertools import cycle, islice

import numpy as np
import pytest
from PIL import Image

from omni import assets
from omni.config import OmniConfig
from omni.dialog.session import ResponseRequest
from omni.events import Item, Part, ResponseStarted, ResponseText
from omni.media.pictures import PictureLimits
from omni.stages.looker import EmbeddedLooker
from omni.stages.see import Budget, SeeStage
from tests.dialog.talk import Talk
from tests.dialog.test_sight import written
from tests.pictures import encoded, photo

pytestmark = pytest.mark.models

RATE_HZ = 4
NOTICE_MS = 2000


@pytest.fixture
def talk(embedded: OmniConfig, monkeypatch: pytest.MonkeyPatch) -> Talk:
    """In writing. The eyes' work takes no time of the conversation's."""
    monkeypatch.setattr("os.setpriority", lambda *_: None)
    talk = Talk(OmniConfig(), written)
    folder = assets.folder(embedded, "see")
    budget = Budget(0.25, lambda: talk.clock.now_ms() / 1000, lambda: 0.0)
    see = SeeStage(lambda: EmbeddedLooker(folder, num_threads=2), PictureLimits(), budget)
    see.load()
    see.open("s")
    talk.stages["see"] = see  # type: ignore[assignment]
    return talk


def filmed(name: str, seconds: int) -> Iterator[bytes]:
    """A still scene as a cheap camera shows it: noise, light that changes, a hand that trembles."""
    rng = np.random.default_rng(0)
    picture = np.asarray(Image.fromarray(photo(name)).resize((640, 480)))
    pictures = []
    for light in (-12, -6, 0, 5, 10):
        shifted = np.roll(picture, rng.integers(-2, 3, 2), (0, 1))
        noisy = shifted + rng.normal(light, 4, picture.shape)
        pictures.append(encoded(Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))))
    return islice(cycle(pictures), seconds * RATE_HZ)


def watch(talk: Talk, film: Iterator[bytes]) -> None:
    for picture in film:
        talk.do(lambda session, picture=picture: session.show(picture))
        talk.clock.advance(1000 // RATE_HZ)
        talk.do(lambda session: session.tick())


def wish(talk: Talk, text: str) -> None:
    item = Item("", "message", "user", parts=(Part("input_text", text=text),))
    talk.do(lambda session: session.add_item(item))
    talk.do(lambda session: session.respond(ResponseRequest()))
    talk.quiet(1)


def test_a_minute_of_stills_gives_no_notice_and_a_change_gives_one(talk: Talk) -> None:
    watch(talk, filmed("cat.png", 1))
    for what in ("a cup", "a dog", "a person", "a car"):
        wish(talk, f"Tell me when you see {what}.")
    talk.events.clear()
    talk.times_ms.clear()
    watch(talk, filmed("cat.png", 60))
    assert not talk.of(ResponseStarted)
    changed_ms = talk.clock.now_ms()
    watch(talk, filmed("coffee.png", 10))
    assert len(talk.of(ResponseStarted)) == 1
    (told,) = (event.delta for event in talk.of(ResponseText))
    assert told == "I see a red cup in the middle."
    at_ms = next(
        at_ms
        for event, at_ms in zip(talk.events, talk.times_ms, strict=True)
        if isinstance(event, ResponseStarted)
    )
    assert at_ms - changed_ms <= NOTICE_MS
    watch(talk, filmed("cat.png", 5))
    watch(talk, filmed("coffee.png", 5))
    assert len(talk.of(ResponseStarted)) == 1, "once"
