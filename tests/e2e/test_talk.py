import re

import numpy as np
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.models, pytest.mark.ray]


def test_a_spoken_question_is_shown_and_answered_by_voice(
    open_page, server, recognise, word_error_rate
):
    page = open_page(server, microphone="weather_question.wav")
    page.take_microphone_as_it_is()
    page.start()

    asked = page.await_state(page.turn("user", 1), "done")
    assert word_error_rate("What is the weather in Paris?", asked) <= 0.2

    page.await_phase("speaking")
    reply = page.await_state(page.turn("assistant", 1), "done")
    page.await_phase("listening")
    page.page.wait_for_timeout(2000)  # the last of it is still in the browser's buffer

    heard = page.recording()
    spoken_ms = heard.times_of("speaking")[0]
    assert word_error_rate(reply, recognise(heard.between(spoken_ms - 300))) <= 0.2
    assert np.abs(heard.between(200, spoken_ms - 300)).max() < 0.01, "nothing sounds before it"
    assert page.page.locator("#v2v").inner_text().endswith(" s")
    assert page.page.get_by_role("alert").inner_text() == ""


def test_a_picture_of_it(open_page, server, request):
    if not request.config.getoption("--screenshot", None):
        pytest.skip("only with --screenshot=FILE: it is for the README")
    page = open_page(server, microphone="sky_question.wav")
    page.start()
    page.await_state(page.turn("assistant", 1), "done")
    page.await_phase("listening")
    page.write("And why is it red in the evening?")
    row = page.turn("assistant", 2)
    page.await_phase("speaking")
    row.get_by_text(re.compile(r"\w+ \w+ \w+")).wait_for()
    page.picture()
