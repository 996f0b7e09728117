"""A picture's time on the clock of the sound, from RTP times and sender reports."""

import pytest

from omni.serve.media_clock import MAX_AGE_MS, MAX_LEAD_MS, MediaClock

AUDIO_START, VIDEO_START = 2**32 - 48_000, 7_000_000  # the former wraps soon
NTP_S = 3_900_000_000


def ntp(ms: float) -> int:
    return int((NTP_S + ms / 1000) * 2**32)


def clock(heard_ms: int) -> MediaClock:
    """So much was heard of a sender who began both streams at once."""
    made = MediaClock()
    made.heard(heard_ms * 16, (AUDIO_START + heard_ms * 48) % 2**32)
    return made


def report(made: MediaClock, at_ms: int, late_ms: float = 0) -> None:
    made.report("audio", ntp(at_ms), (AUDIO_START + at_ms * 48) % 2**32)
    made.report("video", ntp(at_ms + late_ms), VIDEO_START + at_ms * 90)


def test_a_picture_has_the_time_of_the_sound_that_was_made_with_it() -> None:
    made = clock(heard_ms=3000)
    report(made, 2000)
    assert made.captured_ms(VIDEO_START + 2700 * 90, arrived_ms=2990) == 2700
    assert made.captured_ms(VIDEO_START + 3050 * 90, arrived_ms=3000) == 3050, "sound is late"


def test_before_any_report_it_is_the_time_of_arrival() -> None:
    made = clock(heard_ms=3000)
    made.report("video", ntp(0), VIDEO_START)
    assert made.captured_ms(VIDEO_START + 2700 * 90, arrived_ms=2990) == 2990


def test_reports_that_were_held_up_do_not_count() -> None:
    made = clock(heard_ms=3000)
    for at_ms, late_ms in ((1000, 80.0), (1500, 2.0), (2000, 45.0)):
        report(made, at_ms, late_ms)
    assert made.captured_ms(VIDEO_START + 2700 * 90, arrived_ms=2990) == 2702


@pytest.mark.parametrize("claimed_ms", [-90_000, 8000 - MAX_AGE_MS - 20, 8000 + MAX_LEAD_MS + 20])
def test_a_picture_of_another_time_counts_from_its_arrival(claimed_ms: int) -> None:
    made = clock(heard_ms=8000)
    report(made, 2000)
    assert made.captured_ms(VIDEO_START + claimed_ms * 90, arrived_ms=7990) == 7990


def test_reports_without_a_clock_are_none() -> None:
    made = clock(heard_ms=3000)
    report(made, 2000)
    for kind in ("audio", "video"):
        made.report(kind, 0, 0)
    assert made.captured_ms(VIDEO_START + 2700 * 90, arrived_ms=2990) == 2700
