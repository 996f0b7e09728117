"""The bench of a camera counts what was done, not what was waited for."""

import time

import pytest

from omni.dialog.scene import Look
from omni.evaluation.camera_cost import TRACK_HZ, cost_of_stills, cost_of_track, moving, still
from omni.types import Pixels
from tests.pictures import MEDIA

FILM = MEDIA / "bikes.mp4"


class Looker:
    """Works for 2 ms and sees nothing."""

    def look(self, picture: Pixels, captured_ms: int) -> Look:
        end_s = time.process_time() + 0.002
        while time.process_time() < end_s:
            pass
        return Look(captured_ms, ())

    look_closely = look


@pytest.fixture(autouse=True)
def _no_niceness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.setpriority", lambda *_: None)


def test_a_moving_film_is_looked_at_often_and_a_still_one_seldom() -> None:
    looked_at = cost_of_stills(moving(FILM), Looker(), cpu_share=1.0)
    seldom = cost_of_stills(still(FILM), Looker(), cpu_share=1.0)
    assert looked_at.offered == seldom.offered > 80
    assert seldom.looked_at <= 3 < 40 < looked_at.looked_at
    assert min(looked_at.look_ms) >= 2
    assert looked_at.cpu_per_s > seldom.cpu_per_s


async def test_of_a_track_only_key_frames_are_decoded() -> None:
    cost = await cost_of_track(FILM, 3 * TRACK_HZ)
    assert cost.frames == 3 * TRACK_HZ
    assert 2 <= cost.shown <= cost.decoded <= 8
    assert cost.decode_all_cpu_per_s > 0
