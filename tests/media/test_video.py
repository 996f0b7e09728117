"""Which pictures of a camera are seen: laws of the sampler, on its own clock."""

import numpy as np
import pytest

from omni.errors import MediaError
from omni.media.colour import dominant_colour
from omni.media.video import FrameSampler, Thumbnail, change, sharpness, stills, thumbnail
from tests.pictures import MEDIA, photo

CAT, COFFEE = thumbnail(photo("cat.png")), thumbnail(photo("coffee.png"))
FRAME_MS = 33


def play(sampler: FrameSampler, thumbs: list[Thumbnail], start_ms: int = 0) -> list[int]:
    """Offer pictures at 30 a second as a driver does; the times of those that were seen."""
    seen = []
    for index, thumb in enumerate(thumbs):
        at_ms = start_ms + index * FRAME_MS
        if sampler.is_due(at_ms) and sampler.wants(thumb, at_ms):
            seen.append(at_ms)
    return seen


def moving(count: int) -> list[Thumbnail]:
    return [np.roll(CAT, index * 3, axis=1) for index in range(count)]


def test_a_still_scene_is_seen_about_once_in_five_seconds() -> None:
    seen = play(FrameSampler(), [CAT] * 30 * 60)
    assert 11 <= len(seen) <= 13
    assert seen[0] == 0


def test_noise_and_changing_light_are_no_change() -> None:
    rng = np.random.default_rng(0)
    noisy = [
        np.clip(CAT + rng.normal(0, 3, CAT.shape) + 20 * np.sin(i / 30), 0, 255).astype(np.uint8)
        for i in range(30 * 20)
    ]
    assert len(play(FrameSampler(), noisy)) <= 5


def test_a_moving_scene_is_seen_up_to_ten_times_a_second() -> None:
    seen = play(FrameSampler(), moving(300))
    assert 70 <= len(seen) <= 100
    assert min(np.diff(seen)) >= 100


def test_a_change_is_noticed_at_once_and_what_follows_is_still() -> None:
    seen = play(FrameSampler(), [CAT] * 60 + [COFFEE] * 60)
    assert len(seen) == 2
    assert 0 <= seen[1] - 60 * FRAME_MS <= 250 + FRAME_MS


def test_while_nothing_moves_few_pictures_need_decoding() -> None:
    sampler = FrameSampler()
    play(sampler, [CAT] * 30)
    due = 0
    for at_ms in range(1000, 11_000, FRAME_MS):
        if sampler.is_due(at_ms):
            due += 1
            sampler.wants(CAT, at_ms)
    assert due <= 45  # of 303


def test_who_asks_gets_a_sharp_one_soon() -> None:
    blurred = np.asarray(CAT // 2 + CAT.mean() / 2, np.uint8)
    sampler = FrameSampler()
    play(sampler, [CAT] * 8)
    sampler.ask(300)
    assert play(sampler, [blurred, blurred, CAT, blurred], 300) == [300 + 2 * FRAME_MS]
    sampler.ask(1000)
    (seen_ms,) = play(sampler, [blurred] * 12, 1000)  # better than none
    assert seen_ms <= 1300 + FRAME_MS


def test_time_never_goes_back() -> None:
    sampler = FrameSampler()
    assert sampler.wants(CAT, 10_000)
    assert not sampler.wants(COFFEE, 4_000)


def test_change_and_sharpness_order_what_eyes_would() -> None:
    brighter = np.clip(CAT.astype(int) + 25, 0, 255).astype(np.uint8)
    corner = CAT.copy()
    corner[:12, :12] = 255 - corner[:12, :12]
    assert change(CAT, CAT) == 0
    assert change(CAT, brighter) < 12 < change(CAT, corner) < change(CAT, COFFEE) * 3
    assert sharpness(CAT) > sharpness(np.asarray(CAT // 2, np.uint8))


def test_a_film_comes_as_stills_on_its_own_clock() -> None:
    times, pictures = zip(*stills(MEDIA / "bikes.mp4", rate_hz=2), strict=True)
    assert len(times) == 20
    assert min(np.diff(times)) >= 480
    assert all(picture.startswith(b"\xff\xd8\xff") for picture in pictures)


def test_what_is_no_film_is_named() -> None:
    with pytest.raises(MediaError, match=r"jfk\.flac"):
        list(stills(MEDIA / "jfk.flac"))


@pytest.mark.parametrize(
    ("name", "box", "colour"),
    [
        ("coffee.png", (0.28, 0.03, 0.69, 0.67), "red"),
        ("cat.png", (0.0, 0.0, 0.91, 0.98), "brown"),
        ("astronaut.png", (0.02, 0.02, 0.72, 1.0), "orange"),
    ],
)
def test_colours_are_called_what_people_call_them(
    name: str, box: tuple[float, float, float, float], colour: str
) -> None:
    assert dominant_colour(photo(name), box) == colour


def test_many_colours_are_none() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    bars = np.tile(colours, (64, 16, 1))
    assert dominant_colour(bars, (0.0, 0.0, 1.0, 1.0)) == ""
