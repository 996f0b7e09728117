"""A recogniser behind the echo canceller: it hears the user, and nothing of us."""

import jiwer
import numpy as np
import pytest

from omni import assets
from omni.config import OmniConfig
from omni.dialog.lexicon import words_of
from omni.models.embedded.whisper import Whisper
from omni.types import Samples
from tests.media.test_echo_canceller import OURS, RATE_HZ, THEIRS, cleaned, echo

BEGIN_S = 5.0  # of the user's words
HALTED_S = 0.3  # later we fall silent, as whoever is spoken over does


@pytest.mark.models
@pytest.mark.parametrize("delay_ms", [30, 80, 150])
def test_it_hears_the_user_and_not_us(delay_ms: int, embedded: OmniConfig) -> None:
    whisper = Whisper(assets.folder(embedded, "whisper"), num_threads=2)

    def words(sound: Samples) -> str:
        return " ".join(words_of(whisper.transcribe(sound, "en").text))

    begin = int(BEGIN_S * RATE_HZ)
    ours = OURS[: int((BEGIN_S + HALTED_S) * 24000)]
    microphone = np.pad(echo(delay_ms, ours=ours), (0, 2 * RATE_HZ))
    microphone[begin : begin + len(THEIRS)] += THEIRS
    left = cleaned(microphone, ours=ours)
    assert "people to buy" in words(microphone[RATE_HZ:begin])  # ours, were they not taken out
    assert words(left[RATE_HZ:begin]) == ""
    heard = words(left[begin - RATE_HZ // 5 :])
    assert jiwer.wer("what is the weather in paris", heard) <= 0.2, heard
