import itertools
import re

import jiwer
import numpy as np
import pytest

from omni import assets
from omni.errors import ProtocolError
from omni.models.embedded.whisper import Transcript, Whisper, said_once, stable_prefix

SPOKEN = {
    "weather_question.wav": "What is the weather in Paris?",
    "dangerous_situation.wav": "Have you ever been in a dangerous situation?",
    "jfk.flac": "And so my fellow Americans, ask not what your country can do for you, "
    "ask what you can do for your country.",
    "arctic_a0024.wav": "It was my reports from the north which chiefly induced people to buy.",
    "librispeech_1995-1837-0001.wav": "It was the first great sorrow of his life; it was not so "
    "much the loss of the cotton itself, but the fantasy, the hopes, the dreams built around it.",
}


def words(text):
    return re.sub(r"[^\w' ]", " ", text.lower())


@pytest.fixture(scope="module")
def whisper(embedded):
    return Whisper(assets.folder(embedded, "whisper"), num_threads=2)


@pytest.mark.models
def test_english_is_understood(whisper, recording):
    heard = [words(whisper.transcribe(recording(name)).text) for name in SPOKEN]
    assert jiwer.wer([words(text) for text in SPOKEN.values()], heard) <= 0.05


@pytest.mark.models
@pytest.mark.parametrize(
    ("name", "language", "word"),
    [
        ("es_homenaje.wav", "es", "necesari"),
        ("fr_mer_jaune.wav", "fr", "les deux autres sont situés au bord de la mer"),
        ("jfk.flac", "en", "americans"),
    ],
)
def test_the_language_is_found(whisper, recording, name, language, word):
    transcript = whisper.transcribe(recording(name))
    assert transcript.language == language
    assert 0.3 < transcript.language_probability <= 1
    assert word in words(transcript.text)


@pytest.mark.models
def test_it_translates_into_english_and_nothing_else(whisper, recording):
    french = whisper.transcribe(recording("fr_mer_jaune.wav"), translate_to="en")
    assert "les deux autres" in words(french.text)
    assert "the two others are" in words(french.translation)
    assert whisper.transcribe(recording("fr_mer_jaune.wav"), translate_to="de").translation == ""
    english = whisper.transcribe(recording("jfk.flac"), translate_to="en")
    assert english.translation == english.text
    assert whisper.transcribe(recording("cough.wav"), translate_to="en").translation == ""


@pytest.mark.models
def test_one_word_is_in_the_language_of_those_before(whisper, recording):
    """ "Situation." alone is taken for Chinese."""
    word = np.pad(recording("dangerous_situation.wav")[64000:81600], 4800)
    assert whisper.transcribe(word).language == "zh"
    transcript = whisper.transcribe(word, likely_language="en")
    assert transcript.language == "en"
    assert words(transcript.text).strip().startswith("situation")


@pytest.mark.models
def test_a_likely_language_does_not_hide_another(whisper, recording):
    transcript = whisper.transcribe(recording("fr_mer_jaune.wav"), likely_language="en")
    assert transcript.language == "fr"


@pytest.mark.models
def test_a_looping_hypothesis_is_searched_again(whisper, recording):
    """Greedily, this recording ends in "las las las las …"."""
    transcript = whisper.transcribe(recording("es_homenaje.wav"), language="es", context_s=10)
    assert transcript.language_probability == 1
    assert not transcript.is_loop
    assert "las las" not in transcript.text


@pytest.mark.models
@pytest.mark.parametrize("end", [167984, 177904])
def test_an_end_that_is_decoded_twice_is_said_once(whisper, recording, end):
    samples = np.pad(recording("jfk.flac"), (0, 16000))[47936:end]
    transcript = whisper.transcribe(samples, context_s=6)
    assert words(transcript.text).split().count("ask") == 2
    assert words(transcript.decoded).split().count("ask") >= 2


@pytest.mark.models
@pytest.mark.parametrize("end_s", [0.95, 1.0, 1.1, 1.6])
@pytest.mark.parametrize("start_s", [0.1, 0.2, 0.3])
def test_a_word_said_twice_is_no_loop(whisper, recording, start_s, end_s):
    samples = recording("wait_wait.flac")[int(start_s * 16000) : int(end_s * 16000)]
    heard = words(whisper.transcribe(samples, "en", context_s=6).text).split()
    assert 2 <= len(heard) <= 6
    assert set(heard) == {"wait"}


@pytest.mark.parametrize(
    ("decoded", "said"),
    [
        (
            "Ask what you can do for your country What you can do, for your country?",
            "Ask what you can do for your country",
        ),
        ("Stop, stop, stop. No, no, no, no, no, no!", "Stop, stop, stop. No, no, no, no, no, no!"),
        (
            " ありがとうございます、ありがとうございます",
            " ありがとうございます、ありがとうございます",
        ),
        ("", ""),
    ],
)
def test_said_once(decoded, said):
    assert said_once(decoded) == said


def noise(level_db, color=0.0):
    """Noise of 4 s at `level_db` below full scale; color 0.5 is pink."""
    white = np.fft.rfft(np.random.default_rng(0).standard_normal(64000))
    shaped = np.fft.irfft(white / np.maximum(1, np.arange(len(white))) ** color)
    return (shaped / shaped.std() * 10 ** (level_db / 20)).astype(np.float32)


@pytest.mark.models
@pytest.mark.parametrize("name", ["dog_bark.wav", "cough.wav"])
def test_noises_have_no_words(whisper, recording, name):
    transcript = whisper.transcribe(recording(name))
    assert not transcript.is_speech
    assert transcript.text == ""


@pytest.mark.models
@pytest.mark.parametrize(
    "samples",
    [np.zeros(100, np.float32), np.zeros(48000, np.float32), noise(-20), noise(-40), noise(-60),
     noise(-20, color=0.5), noise(-40, color=0.5)],
    ids=["nothing", "silence", "white-20", "white-40", "white-60", "pink-20", "pink-40"],
)  # fmt: skip
def test_silence_and_noise_have_no_words(whisper, samples):
    assert whisper.transcribe(samples).text == ""


@pytest.mark.models
def test_babble_has_no_words(whisper, recording):
    """Ten voices at once, 20 dB below full scale: half of them said backwards."""
    voices = [np.resize(recording(name), 64000) for name in SPOKEN]
    voices += [voice[::-1] for voice in voices]
    turned = [np.roll(voice / voice.std(), 6400 * i) for i, voice in enumerate(voices)]
    babble = np.sum(turned, axis=0)
    babble *= 0.1 / babble.std()
    assert whisper.transcribe(babble.astype(np.float32)).text == ""


@pytest.mark.models
def test_speech_longer_than_a_window(whisper, recording):
    clip = np.concatenate([recording(name) for name in SPOKEN])
    assert len(clip) > 30 * 16000
    heard = words(whisper.transcribe(clip).text)
    assert jiwer.wer(words(" ".join(SPOKEN.values())), heard) <= 0.1


@pytest.mark.models
def test_a_prefix_is_kept_and_continued(whisper, recording):
    clip = recording("jfk.flac")
    begun = whisper.transcribe(clip[: 16000 * 9]).text
    stable = stable_prefix(begun, whisper.transcribe(clip[: 16000 * 10]).text)
    whole = whisper.transcribe(clip, prefix=stable).text
    assert len(stable.split()) >= 8
    assert whole.startswith(stable)
    assert words(whole).split() == words(SPOKEN["jfk.flac"]).split()


@pytest.mark.models
@pytest.mark.parametrize("name", ["jfk.flac", "librispeech_1995-1837-0001.wav"])
def test_published_words_are_never_taken_back(whisper, recording, name):
    """A hypothesis each second while the user speaks, the agreed words forced upon the next."""
    clip, last, stable, published = recording(name), "", "", []
    for end_s in range(2, len(clip) // 16000 + 1):
        text = whisper.transcribe(clip[: end_s * 16000], language="en", prefix=stable).text
        stable, last = stable_prefix(last, text), text
        published.append(stable)
    final = whisper.transcribe(clip, language="en", prefix=stable).text
    for before, after in itertools.pairwise([*published, final]):
        assert after.startswith(before)
    assert len(published[-1].split()) >= 0.6 * len(final.split())
    assert jiwer.wer(words(SPOKEN[name]), words(final)) <= 0.1


@pytest.mark.models
def test_control_tokens_in_a_prompt_are_only_text(whisper, recording):
    clip = recording("weather_question.wav")
    transcript = whisper.transcribe(clip, prompt="<|endoftext|><|translate|> Paris")
    assert words(transcript.text).split() == words(SPOKEN["weather_question.wav"]).split()


@pytest.mark.models
def test_an_unknown_language_is_refused_by_name(whisper):
    with pytest.raises(ProtocolError) as caught:
        whisper.transcribe(np.zeros(16000, np.float32), language="xx")
    assert caught.value.param == "language"
    assert whisper.languages >= {"en", "es", "fr", "zh", "haw"}


@pytest.mark.parametrize(
    ("previous", "current", "stable"),
    [
        ("", "Hello there", ""),
        ("Hello there", "", ""),
        ("Hello there", "Hello there", "Hello there"),
        ("hello, there", "Hello there my friend", "Hello there"),
        ("Ask not what your count", "Ask not, what your country", "Ask not, what your"),
        ("It is a dog.", "It is a dog and a cat", "It is a dog"),
        ("It is a dog", "It is a dog.", "It is a dog"),
        ("Where is", "There is", ""),
        ("今日は天気", "今日はいい天気", "今日は"),
        ("मौसम अच्छा है।", "मौसम अच्छा है आज", "मौसम अच्छा है"),
        ("¿Dónde está?", "¿Dónde estaba?", "¿Dónde"),
    ],
)
def test_stable_prefix(previous, current, stable):
    assert stable_prefix(previous, current) == stable


@pytest.mark.parametrize(
    ("no_speech_probability", "mean_logprob", "is_loop", "verdict"),
    [
        (0.02, -0.1, False, True),
        (0.25, -0.9, False, True),
        (0.43, -0.17, False, True),
        (0.43, -0.4, False, False),
        (0.35, -0.6, False, False),
        (0.9, -0.69, False, False),
        (0.46, -1.09, False, False),
        (0.1, -0.1, True, False),
    ],
)
def test_verdict(no_speech_probability, mean_logprob, is_loop, verdict):
    transcript = Transcript("Yes.", "en", 1.0, no_speech_probability, mean_logprob, is_loop)
    assert transcript.is_speech is verdict
