import re

import numpy as np
import pytest

from tests.pictures import MEDIA

pytestmark = [pytest.mark.browser, pytest.mark.models, pytest.mark.ray]

LONG = "Whatever you are asked, tell a long story of ten sentences about a sailor and the sea."
SHORT = "Answer in one short sentence."
QUIET_RMS = 0.003
FLUSH_MS = 1000  # what the network and the browser's jitter buffer may still hold


def test_talking_over_a_reply_stops_it_for_good(open_page, server, recognise, word_error_rate):
    page = open_page(server)
    page.take_microphone_as_it_is()
    page.instruct(LONG)
    page.start()

    page.await_phase("listening")
    page.say(MEDIA / "weather_question.wav")
    page.await_phase("speaking")
    first = page.turn("assistant", 1)
    first.get_by_text(re.compile(r"\w+ \w+ \w+")).wait_for()
    page.say(MEDIA / "dangerous_situation.wav")
    page.await_phase("hearing")
    page.instruct(SHORT)
    assert "interrupted" in page.await_state(first, "cut")

    second = page.await_state(page.turn("user", 2), "done")
    assert word_error_rate("Have you ever been in a dangerous situation?", second) <= 0.2
    answer = page.await_state(page.turn("assistant", 2), "done")
    page.await_phase("listening")
    page.page.wait_for_timeout(2000)

    heard = page.recording()
    phases = [name for name, _ in heard.phases]
    first_reply = phases.index("speaking")
    assert phases[first_reply + 1] == "hearing", "it was still being spoken"
    interrupted_ms = heard.times_of("hearing")[1]
    begun_ms, answered_ms = heard.times_of("speaking")
    assert rms(heard.between(begun_ms, interrupted_ms)) > QUIET_RMS
    silence = heard.between(interrupted_ms + FLUSH_MS, answered_ms)
    assert len(silence) > 0
    assert rms(silence) < QUIET_RMS
    rest = recognise(heard.between(answered_ms - 300))
    assert word_error_rate(answer, rest) <= 0.2, "of the first reply, nothing comes afterwards"


def rms(samples):
    return float(np.sqrt(np.mean(samples**2)))
