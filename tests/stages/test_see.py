"""The see stage around a fake looker: what is looked at, when, and at what price."""

import pytest
from PIL import Image

from omni.dialog.scene import Finding, Look
from omni.media.pictures import PictureLimits
from omni.stages.see import BURST_S, Budget, SeeStage
from omni.types import Chunk, PictureChunk, Pixels, Seen, StageReport
from tests.pictures import encoded, photo

CAT = encoded(Image.fromarray(photo("cat.png")))
COFFEE = encoded(Image.fromarray(photo("coffee.png")))


class Looker:
    """Finds a thing named after the colour of the picture; every look costs `cost_s`."""

    def __init__(self) -> None:
        self.looks: list[str] = []
        self.spent_s = 0.0
        self.cost_s = 0.0

    def look(self, picture: Pixels, captured_ms: int) -> Look:
        return self._look("glance", picture, captured_ms)

    def look_closely(self, picture: Pixels, captured_ms: int) -> Look:
        return self._look("close", picture, captured_ms)

    def _look(self, how: str, picture: Pixels, captured_ms: int) -> Look:
        self.looks.append(how)
        self.spent_s += self.cost_s
        label = "cat" if picture.shape[1] < 500 else "cup"
        return Look(captured_ms, (Finding(label, "", (0.4, 0.4, 0.6, 0.6), 0.9),))


class Eyes:
    def __init__(self) -> None:
        self.looker = Looker()
        self.wall_s = 100.0
        budget = Budget(0.25, lambda: self.wall_s, lambda: self.looker.spent_s)
        self.stage = SeeStage(lambda: self.looker, PictureLimits(), budget)
        self.stage.load()
        self.stage.open("s")

    def show(
        self, data: bytes, at_ms: int = 0, *, is_asked: bool = False, session: str = "s"
    ) -> list[Chunk]:
        chunk = PictureChunk(session, 0, 0, f"pic{at_ms}", data, at_ms, is_asked)
        return self.stage.step([chunk])


@pytest.fixture
def eyes(monkeypatch: pytest.MonkeyPatch) -> Eyes:
    monkeypatch.setattr("os.setpriority", lambda *_: None)  # it would hold for all later tests
    monkeypatch.setattr("time.sleep", lambda _: None)
    return Eyes()


def test_a_still_scene_is_looked_at_once_and_then_every_five_seconds(eyes: Eyes) -> None:
    out = [chunk for at_ms in range(0, 12_000, 100) for chunk in eyes.show(CAT, at_ms)]
    assert [chunk.note for chunk in out if isinstance(chunk, Seen)] == [
        "I see a cat in the middle."
    ]
    assert len(eyes.looker.looks) == 3


def test_a_change_is_seen_and_told(eyes: Eyes) -> None:
    eyes.show(CAT, 0)
    (seen,) = eyes.show(COFFEE, 100)
    assert isinstance(seen, Seen)
    assert [thing.label for thing in seen.things] == ["cup"]
    assert seen.gone == ("cat",)


def test_who_asks_is_always_answered_and_closely(eyes: Eyes) -> None:
    eyes.show(CAT, 0)
    (seen,) = eyes.show(CAT, 50, is_asked=True)
    assert isinstance(seen, Seen)
    assert seen.picture_id == "pic50"
    assert eyes.looker.looks == ["glance", "close"]


def test_every_asked_picture_gets_its_own_answer(eyes: Eyes) -> None:
    chunks = [PictureChunk("s", 0, 0, f"p{i}", CAT, i, True) for i in range(3)]
    out = eyes.stage.step(chunks)
    while eyes.stage.has_work():
        out += eyes.stage.step([])
    assert [chunk.picture_id for chunk in out if isinstance(chunk, Seen)] == ["p0", "p1", "p2"]


def test_over_budget_only_the_latest_picture_waits(eyes: Eyes) -> None:
    eyes.looker.cost_s = 1.0
    eyes.show(CAT, 0)
    assert eyes.show(COFFEE, 100) == []
    assert eyes.show(CAT, 200) == []
    assert eyes.show(COFFEE, 300) == []
    assert len(eyes.looker.looks) == 1
    eyes.wall_s += (1.0 - BURST_S) / 0.25 + 0.1
    (seen,) = eyes.stage.step([])
    assert isinstance(seen, Seen)
    assert seen.captured_ms == 300
    assert not eyes.stage.has_work()


def test_a_camera_never_costs_more_than_its_share(eyes: Eyes) -> None:
    eyes.looker.cost_s = 0.05

    for i in range(600):  # a minute at ten a second, all different
        eyes.wall_s += 0.1
        eyes.show(CAT if i % 2 else COFFEE, i * 100)
    assert 0.2 * 60 < eyes.looker.spent_s <= 0.25 * 60 + BURST_S + 0.05


def test_a_damaged_picture_is_reported_and_the_next_is_seen(eyes: Eyes) -> None:
    (report,) = eyes.show(CAT[:2000], 0, is_asked=True)
    assert isinstance(report, StageReport)
    assert "image" in report.message
    assert len(eyes.show(CAT, 100)) == 1


def test_sessions_do_not_see_each_others_scene(eyes: Eyes) -> None:
    eyes.stage.open("t")
    eyes.show(CAT, 0)
    (seen,) = eyes.show(COFFEE, 0, session="t")
    assert isinstance(seen, Seen)
    assert seen.changes == ()
    eyes.stage.close("t")
    eyes.stage.close("t")
    assert eyes.show(CAT, 100) == []
