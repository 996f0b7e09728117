import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni import assets
from omni.errors import AssetError, ConfigError
from omni.models.embedded import kokoro_graph, kokoro_sound
from omni.models.embedded.kokoro import RATE_HZ, Kokoro
from omni.models.embedded.kokoro_blocks import Rewriter
from omni.models.embedded.kokoro_words import Spelling, pronounce, runs, tokens

VOCAB = {c: i for i, c in enumerate(" abcdefghijklmnopqrstuvwxyz.,?", 1)}
SPELT = st.lists(
    st.builds(Spelling, st.text("abc", min_size=1), st.text("abc.,!", max_size=6)), max_size=12
)
SENTENCE = "Sure, I can help you with that."


@given(st.text(max_size=40))
def test_the_words_of_a_text_are_its_pieces_in_order(text):
    assert [word.text for word in pronounce(text)] == text.split()


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("Sure, I", ["ʃˈʊɹ,", "ˌI"]),
        ("the apple", ["ði", "ˈæpᵊl"]),
        ("the pear", ["ðə", "pˈɛɹ"]),
        ("USB", ["jˌuˌɛsbˈi"]),
        ("/ x", ["", "ˌɛks"]),
    ],
)
def test_words_are_read_as_english(text, phonemes):
    assert [word.phonemes for word in pronounce(text)] == phonemes


def test_an_accent_does_not_cost_a_vowel():
    assert pronounce("café")[0].phonemes == pronounce("cafe")[0].phonemes != ""


@given(SPELT, st.integers(8, 30))
def test_runs_joined_are_the_text_and_fit_the_model(spelt, most):
    parts = list(runs(spelt, most))
    assert [word for part in parts for word in part] == spelt
    assert all(sum(len(word.phonemes) + 1 for word in part) <= most for part in parts)


@given(SPELT)
def test_each_word_spans_its_sounding_tokens(spelt):
    line = tokens(spelt, VOCAB, 500)
    assert line.ids[0] == line.ids[-1] == 0
    assert len(line.spans) == len(spelt)
    for word, span in zip(spelt, line.spans, strict=True):
        sounds = word.phonemes.replace("!", "").strip(".,")
        heard = "".join(
            " abcdefghijklmnopqrstuvwxyz.,?"[i - 1] for i in line.ids[slice(*span or (0, 0))]
        )
        assert heard == sounds


@given(st.integers(0, 5000), st.integers(1, 5000), st.integers(0, 5000))
def test_silence_around_speech_is_cut_but_no_onset_is(before, speech, after):
    sound = np.concatenate([np.zeros(before), np.full(speech, 0.5), np.zeros(after)])
    start, end = kokoro_sound.audible(sound.astype(np.float32))
    assert np.count_nonzero(sound[start:end]) == speech
    assert before - start <= RATE_HZ // 50
    assert end - start <= speech + RATE_HZ // 20


def test_a_full_stop_is_a_longer_pause_than_a_comma_and_no_mark_is_none():
    assert len(kokoro_sound.pause("a.")) > len(kokoro_sound.pause("a,")) > 0
    assert len(kokoro_sound.pause("a")) == 0
    assert len(kokoro_sound.pause("a.”")) == len(kokoro_sound.pause("a."))


def quantised_convolution(size, dilation, has_bias):
    """A graph of one int8 convolution, in the pattern and with the names of the pinned export."""
    rng = np.random.default_rng(size)
    make, array = onnx.helper.make_node, onnx.numpy_helper.from_array
    weights = [
        array(rng.integers(0, 128, (8, 16, size)).astype(np.uint8), "w"),
        array(np.uint8(63), "w_zero"),
        array(np.float32(0.01), "w_scale"),
        array(rng.standard_normal(8).astype(np.float32), "c.bias"),
        array(np.array([1, -1, 1]), "shape"),
    ]
    scales = "c.bias_scale" if has_bias else "c.scales"
    pad = dilation * (size - 1) // 2
    conv = make(
        "ConvInteger",
        ["q", "w", "q_zero", "w_zero"],
        ["sum"],
        name="c",
        dilations=[dilation],
        strides=[1],
        pads=[pad, pad],
    )
    nodes = [
        make("DynamicQuantizeLinear", ["x"], ["q", "q_scale", "q_zero"]),
        conv,
        make("Mul", ["q_scale", "w_scale"], [scales]),
    ]
    total = "sum"
    if has_bias:
        nodes += [
            make("Div", ["c.bias", scales], ["b0"]),
            make("Floor", ["b0"], ["b1"]),
            make("Cast", ["b1"], ["b2"], to=onnx.TensorProto.INT32),
            make("Reshape", ["b2", "shape"], ["b3"]),
            make("Add", ["sum", "b3"], ["biased"]),
        ]
        total = "biased"
    nodes += [
        make("Cast", [total], ["float"], to=onnx.TensorProto.FLOAT),
        make("Mul", ["float", scales], ["y"], name="c_output_scale_mul"),
    ]
    sizes = [[1, 16, None], None]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in zip("xy", sizes, strict=True)
    ]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    opsets = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("com.microsoft", 1)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)


def run(model, x):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options)
    return session.run(["y"], {"x": x})[0]


@pytest.mark.parametrize(
    ("size", "dilation", "has_bias"), [(1, 1, False), (3, 1, True), (7, 3, True), (11, 5, True)]
)
def test_a_convolution_as_a_product_gives_the_same_numbers(size, dilation, has_bias):
    model = quantised_convolution(size, dilation, has_bias)
    x = np.random.default_rng(0).standard_normal((1, 16, 40)).astype(np.float32)
    before = run(model, x)
    rewriter = Rewriter(model.graph)
    rewriter.rewrite(blocks=())
    assert not any(n.op_type == "ConvInteger" for n in kokoro_graph.needed(model.graph, [], ["y"]))
    # The old bias was rounded down to a step of the two scales' product, about 3e-4 here.
    np.testing.assert_allclose(run(model, x), before, atol=1e-3)


def test_another_graph_is_refused(tmp_path):
    path = tmp_path / "other.onnx"
    onnx.save(quantised_convolution(3, 1, True), path)
    with pytest.raises(AssetError, match="other"):
        kokoro_graph.halves(path)


@pytest.fixture(scope="module")
def kokoro(embedded):
    return Kokoro(
        assets.resolve(embedded, "kokoro.onnx"),
        assets.resolve(embedded, "kokoro/vocab.json"),
        assets.folder(embedded, "kokoro/voices"),
        num_threads=2,
    )


@pytest.mark.models
def test_speech_starts_at_once_and_its_words_are_the_texts(kokoro):
    said = kokoro.synthesise(SENTENCE, "af_heart", 1.0)
    assert said.samples.dtype == np.float32
    assert not said.samples.flags.writeable
    assert np.abs(said.samples[: RATE_HZ // 50]).max() > 0.005
    assert np.abs(said.samples).max() <= 1
    assert [word.text for word in said.words] == SENTENCE.split()
    times = [ms for word in said.words for ms in (word.start_ms, word.end_ms)]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= len(said.samples) * 1000 // RATE_HZ


@pytest.mark.models
def test_a_words_time_is_where_it_sounds(kokoro):
    said = kokoro.synthesise("Stop; go.", "af_heart", 1.0)
    steps = np.abs(said.samples[: len(said.samples) // 240 * 240]).reshape(-1, 240).max(axis=1)
    loud = np.flatnonzero(steps > 0.05)  # by 10 ms
    gap = int(np.argmax(np.diff(loud)))
    stop, go = said.words
    assert abs(go.start_ms - loud[gap + 1] * 10) <= 60
    assert loud[gap] * 10 - 60 <= stop.end_ms <= go.start_ms


@pytest.mark.models
def test_the_same_clause_is_the_same_sound_whether_remembered_or_not(kokoro, monkeypatch):
    first = kokoro.synthesise("Of course.", "af_heart", 1.0)
    assert kokoro.synthesise("Of course.", "af_heart", 1.0) is first
    monkeypatch.setattr("omni.models.embedded.kokoro.MEMO_BYTES", first.samples.nbytes)
    kokoro.synthesise("Yes, it is.", "af_heart", 1.0)
    again = kokoro.synthesise("Of course.", "af_heart", 1.0)
    assert again is not first
    np.testing.assert_array_equal(again.samples, first.samples)


@pytest.mark.models
def test_voice_and_speed_are_heard(kokoro):
    plain, quick = (kokoro.synthesise(SENTENCE, "af_heart", speed) for speed in (1.0, 1.5))
    assert len(quick.samples) < 0.85 * len(plain.samples)
    other = kokoro.synthesise(SENTENCE, "am_michael", 1.0)
    assert len(other.samples) != len(plain.samples)
    assert len(kokoro.voices()) == 54
    with pytest.raises(ConfigError, match="am_michael"):
        kokoro.synthesise(SENTENCE, "nobody", 1.0)


@pytest.mark.models
@pytest.mark.parametrize("text", ["", "—", "日 …"])
def test_what_has_no_sound_is_empty(kokoro, text):
    said = kokoro.synthesise(text, "af_heart", 1.0)
    if not any(c.isalpha() for c in text):
        assert len(said.samples) == 0
    assert [word.text for word in said.words] == text.split()


@pytest.mark.models
def test_the_rewritten_graph_says_what_the_pinned_one_says(kokoro, embedded):
    path = assets.resolve(embedded, "kokoro.onnx")
    line = tokens(pronounce(SENTENCE), kokoro._vocab, 500)
    style = kokoro._voice("af_heart")[len(line.ids) - 3]
    (whole,) = ort.InferenceSession(str(path)).run(
        None, {"tokens": [line.ids], "style": style, "speed": np.ones(1, np.float32)}
    )
    plan = kokoro._plan(line, kokoro._voice("af_heart"), 1.0)
    ours = kokoro._decode(plan, 0, int(plan.ends[-1]))
    assert len(ours) == len(whole)
    assert np.corrcoef(ours, whole)[0, 1] > 0.98
