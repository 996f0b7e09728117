"""What re-implementations of MiniCPM-o get wrong, one test each, by its number in
docs/minicpm-o.md. The golden packs cover most of them too; here each stands alone."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from omni.models.minicpmo import mel, sampling
from omni.models.minicpmo.checkpoint import load
from omni.models.minicpmo.hearing import Ear
from omni.models.minicpmo.kv import KeyValues
from omni.models.minicpmo.mel import MelStream
from omni.models.minicpmo.parity.bench import Bench, StubStream, traced
from omni.models.minicpmo.prompt import Message, Places, Sound, write_chat
from omni.models.minicpmo.sampling import Decision, DecisionIds, SpeechRule, decide, greedy
from omni.models.minicpmo.scheduler import run
from omni.models.minicpmo.speech import SpeechOrder
from omni.models.minicpmo.token2wav import Stream, Token2Wav
from omni.models.minicpmo.token2wav_files import load_token2wav
from omni.models.minicpmo.unit import DuplexRule, SystemPrompt
from omni.models.minicpmo.vision import axis_ids
from omni.models.minicpmo.voice import VoicePrompt
from omni.models.minicpmo.window import WindowRule
from omni.models.minicpmo.wishes import Feed, HearClip, Say
from omni.models.resampler import Resampler
from tests.models.minicpmo.conftest import PACK
from tests.models.minicpmo.playing import PROMPT, Played, second

CPU = torch.device("cpu")


@pytest.fixture
def played(bench: Bench) -> Iterator[Played]:
    session = Played(bench, DuplexRule())
    yield session
    session.close()


@pytest.fixture
def released(bench: Bench) -> Iterator[Played]:
    session = Played(bench, DuplexRule(is_as_released=True))
    yield session
    session.close()


@pytest.fixture(scope="module")
def vocoder() -> Token2Wav:
    return load_token2wav(PACK / "token2wav", CPU)


@pytest.fixture(scope="module")
def prompt() -> VoicePrompt:
    generator = torch.Generator().manual_seed(5)
    mel_frames = torch.randn(12, 80, generator=generator)
    return VoicePrompt((1, 2, 3, 4, 5, 6), mel_frames, torch.randn(192, generator=generator))


def words(bench: Bench, text: str) -> list[int]:
    return bench.tokens.encode(text)


def test_01_projector_then_pool(bench: Bench) -> None:
    ear = bench.brain.ear
    hidden = torch.randn(10, 64, generator=torch.Generator().manual_seed(0))
    first, second_ = ear.projector.linear1, ear.projector.linear2
    right = second_(torch.relu(first(hidden))).unflatten(0, (2, 5)).mean(1)
    pooled_first = second_(torch.relu(first(hidden.unflatten(0, (2, 5)).mean(1))))
    torch.testing.assert_close(ear.embed(hidden), right)
    assert (ear.embed(hidden) - pooled_first).abs().max() > 0.1


@pytest.mark.parametrize("pool", [2, 5])
def test_02_pool_comes_from_the_config_everywhere(bench: Bench, pool: int) -> None:
    model = bench.model
    ear = Ear(model.apm, model.audio_projection_layer, pool)
    places = Places(model.config.num_queries, pool)
    for num_samples in (8000, 16000, 16001, 37520):
        [rows] = ear.clips([bench.pack.stream((0, num_samples))], 1.0)
        assert len(rows) == places.num_audio_rows(num_samples)


def test_03_a_unit_is_heard_with_what_came_before(bench: Bench) -> None:
    stream, ear = MelStream(2), bench.brain.ear
    first = stream.push(torch.cat([torch.zeros(480), second(bench, 0)]), 100)
    later = stream.push(second(bench, 1), 100)
    past = KeyValues()
    ear.stream([past], [first])
    [with_past] = ear.stream([past], [later])
    [without] = ear.stream([KeyValues()], [later])
    assert len(past) == 100
    assert (with_past - without).abs().max() > 0.1


def test_04_rope_theta_reaches_model_and_window(bench: Bench) -> None:
    model = bench.model.llm.model
    size = bench.model.config.llm.head_dim
    theta = 1_000_000 ** (-torch.arange(0, size, 2) / size)
    torch.testing.assert_close(model.rotary_emb.inv_freq, theta)
    torch.testing.assert_close(bench.brain.llm.engine.pool._inv_freq, theta)


def test_05_condition_takes_the_state_at_the_tokens_own_position(
    bench: Bench, played: Played
) -> None:
    ids = bench.tokens.ids
    said = words(bench, " hello")
    before = len(played.session.thinking.context)
    output = played.unit([ids.speak, *said, ids.chunk_eos])
    assert list(output.ids) == said
    [order] = [s.wish.order for s in played.steps if isinstance(s.wish, Say)]
    llm = bench.brain.llm
    again = llm.open()
    groups = [g for s in played.steps if isinstance(s.wish, Feed) for g in s.wish.groups]
    llm.engine.pool.copy(played.session.thinking.context.slot, again.slot, before)
    [states] = llm.feed([again], [bench.brain.mind.embed(groups)])
    again.close()
    own = states[12 : 12 + len(said)]  # after <unit>, 10 of sound and <|speak|>
    marks = [bench.model.config.speech.audio_bos_id]
    right = bench.model.tts.condition(said, own, marks)
    torch.testing.assert_close(order.condition, right, atol=1e-4, rtol=1e-4)


def test_06_turn_eos_is_fed_and_spoken(bench: Bench, played: Played) -> None:
    ids, said = bench.tokens.ids, words(bench, " bye")
    output = played.unit([ids.speak, *said, ids.turn_eos, ids.chunk_eos])
    assert output.is_turn_end
    assert list(output.ids) == [*said, ids.turn_eos]
    assert ids.turn_eos in played.fed_ids()


def test_07_first_token_is_not_spoken(bench: Bench, played: Played) -> None:
    ids, said = bench.tokens.ids, words(bench, "hi")
    assert list(played.unit([said[0], *said, ids.chunk_eos]).ids) == said


def test_08_no_row_is_ever_padded(bench: Bench) -> None:
    llm = bench.brain.llm
    contexts = [llm.open() for _ in range(3)]
    rows = [llm.embed(range(n)) for n in (7, 1, 4)]
    llm.feed(contexts, rows)
    assert [len(context) for context in contexts] == [7, 1, 4]
    for context in contexts:
        context.close()


def test_09_an_answer_that_ends_in_listen_is_kept(bench: Bench, played: Played) -> None:
    ids, said = bench.tokens.ids, words(bench, " bye")
    output = played.unit([ids.speak, *said, ids.turn_eos, ids.listen])
    assert output.text == " bye"
    assert len(output.samples) == 960 * len(output.codes) + 3 * 960
    assert played.windows()[-1].is_last
    assert len(played.session.speaking.context) == 0


def test_09_is_lost_as_released(bench: Bench, released: Played) -> None:
    ids, said = bench.tokens.ids, words(bench, " bye")
    output = released.unit([ids.speak, *said, ids.turn_eos, ids.listen])
    assert (output.is_listen, output.text, len(output.samples)) == (True, "", 0)


def test_10_forced_listen_resets_speech_vocoder_and_turn(bench: Bench, played: Played) -> None:
    ids = bench.tokens.ids
    played.unit([ids.speak, *words(bench, " hello"), ids.chunk_eos])
    assert played.session.thinking.is_turn_open
    assert len(played.session.speaking.context) > 0
    output = played.unit([], is_forced=True)
    assert output.is_listen
    assert not played.session.thinking.is_turn_open
    assert len(played.session.speaking.context) == 0
    assert played.session.speaking.codes == [4218] * 3
    assert played.fed_ids() == [ids.unit, ids.turn_eos, ids.listen, ids.unit_end]


def test_11_listen_scale_acts_on_listen(bench: Bench, played: Played, released: Played) -> None:
    ids = bench.tokens.ids
    assert played.duplex.deciding.decision_ids.scaled == ids.listen
    assert released.duplex.deciding.decision_ids.scaled == ids.im_end


def rule_ids() -> DecisionIds:
    return DecisionIds(chunk_eos=0, turn_eos=1, scaled=2, forbidden=(3,))


def test_12_repetition_divides_negative_logits_too() -> None:
    rule = Decision(repetition_penalty=2.0, length_penalty=1.0)
    scores = sampling.penalised(
        torch.tensor([[-9.0, -9, -9, 9, -4, 4]]), [[4, 5]], rule, rule_ids()
    )
    assert scores[0, 4:].tolist() == [-2, 2]


def test_13_the_end_of_a_chunk_is_drawn_from_raw_logits() -> None:
    logits = torch.tensor([[5.0, 0, 0, 5.5, 0, 0]])  # a forbidden id is likelier than the end
    history: list[int] = []
    numbers = iter([0.3])
    chosen = decide(logits, [history], Decision(), rule_ids(), [lambda: next(numbers)])
    assert (chosen, history) == ([0], [])
    numbers = iter([0.99, 0.0])
    assert decide(logits, [history], Decision(), rule_ids(), [lambda: next(numbers)]) == [1]


def test_14_twenty_tokens_are_nineteen_and_the_end(bench: Bench) -> None:
    played = Played(bench, replace(DuplexRule(), max_chars=None))
    letters = words(bench, "abcdefghijklmnopqrstuvwxyz")
    played.unit([bench.tokens.ids.speak, *letters])
    fed = played.fed_ids()
    assert fed[1:20] == [bench.tokens.ids.speak, *letters[:18]]
    assert fed[20:] == [bench.tokens.ids.chunk_eos, bench.tokens.ids.unit_end]
    played.close()


def test_15_first_unit_lags_eighty_samples_for_ever(bench: Bench, played: Played) -> None:
    ids = bench.tokens.ids
    for units in range(1, 4):
        played.unit([ids.listen])
        assert len(played.session.hearing.lag) == 80
        assert len(played.session.hearing.mel.samples) == 480 + 16000 * units


def test_16_loudness_floor_moves_after_five_seconds(bench: Bench) -> None:
    """Soft sound after loud: below 5 s nothing is clipped, then all 80 dB under the loudest."""
    loud, soft = torch.rand(16000) - 0.5, torch.zeros(16000)
    stream = MelStream(2)
    early = stream.push(torch.cat([torch.zeros(480), loud]), 100).frames
    frames = [stream.push(soft, 100).frames for _ in range(5)]
    assert frames[1][:, 50].min() == pytest.approx((-10 + 4) / 4)
    assert frames[4][:, 50].min() == pytest.approx(early.max() - 8 / 4)


def test_17_bfloat16_weights_give_float32_logits_and_sound(vocoder: Token2Wav) -> None:
    model = load(PACK, CPU, torch.bfloat16)
    from omni.models.minicpmo.decoder import LanguageModel
    from omni.models.minicpmo.speech import Talker

    llm, talker = LanguageModel(model.llm, 1, 64), Talker(model.tts, 1, 64)
    context, voice = llm.open(), talker.open()
    [hidden] = llm.feed([context], [llm.embed([1, 2, 3])])
    assert hidden.dtype == torch.bfloat16
    assert llm.logits(hidden).dtype == torch.float32
    condition = model.tts.condition([1, 2, 3], hidden, [4])
    assert talker.step([voice], [condition]).dtype == torch.float32
    assert model.llm.model.rotary_emb.inv_freq.dtype == torch.float32
    assert next(vocoder.hift.parameters()).dtype == torch.float32


def test_18_resampler_positions_are_made_not_loaded(bench: Bench) -> None:
    assert not any("pos_embed" in name for name in bench.model.resampler.state_dict())
    with torch.device("meta"):
        module = Resampler(4, 256, 8)
    module.load_state_dict(
        {name: torch.randn(t.shape) for name, t in module.state_dict().items()}, assign=True
    )
    tall = module(torch.randn(1, 150, 8), torch.tensor([[75, 2]]))
    assert tall.isfinite().all()


def test_19_position_goes_to_the_key_alone(bench: Bench) -> None:
    """Patches that are all alike give the same whatever their places: values have no position."""
    resampler = bench.model.resampler
    x = torch.randn(1, 1, 64).expand(1, 6, 64)
    wide = resampler(x, torch.tensor([[2, 3]]))
    tall = resampler(x, torch.tensor([[6, 1]]))
    torch.testing.assert_close(wide, tall, atol=1e-5, rtol=1e-5)


def test_20_ties_of_vision_positions() -> None:
    """Only at these lengths is it seen that the released code divides in float32 first."""
    lines = torch.arange(1 / 70, 1.0, 1 / 70)
    plain = {n: torch.bucketize(torch.arange(n) / n, lines, right=True) for n in range(1, 71)}
    differing = [n for n, ids in plain.items() if not torch.equal(axis_ids(n, 70), ids)]
    assert differing == [25, 49, 50, 55, 58]


def test_21_caches_are_trimmed_as_by_stepaudio2(vocoder: Token2Wav, prompt: VoicePrompt) -> None:
    stream = Stream(vocoder.voice(prompt), lambda n: _silent(vocoder, n))
    kept = vocoder.dims.stream.kept_frames
    for _ in range(4):
        before = stream.state.encoder.tokens
        vocoder.stream([stream], [list(range(28))], [False])
    tokens = stream.state.encoder.tokens
    assert stream.state.encoder.frames.shape[3] == 12 + kept
    assert stream.state.dit.attention.shape[4] == 12 + kept
    # The code-rate half ends with its oldest rows, where the window before this should be.
    assert torch.equal(tokens[..., -25:, :], before[..., :25, :])


def _silent(vocoder: Token2Wav, num_samples: int) -> object:
    from omni.models.minicpmo.hift import no_noise

    return no_noise(vocoder.dims.hift)(num_samples)


def test_22_streams_of_one_voice_share_nothing(vocoder: Token2Wav, prompt: VoicePrompt) -> None:
    voice = vocoder.voice(prompt)
    first, other = (Stream(voice, lambda n: _silent(vocoder, n)) for _ in range(2))
    window = list(range(28))
    [before] = vocoder.stream([first], [window], [False])
    vocoder.stream([first], [window], [False])
    [after] = vocoder.stream([other], [window], [False])
    assert torch.equal(before, after)


def test_23_noise_is_the_same_in_every_process(vocoder: Token2Wav) -> None:
    assert torch.equal(vocoder.noise, load_token2wav(PACK / "token2wav", CPU).noise)
    assert vocoder.noise.std() == pytest.approx(1, abs=0.01)


def test_24_nothing_held_back_is_lost(vocoder: Token2Wav, prompt: VoicePrompt) -> None:
    stream = Stream(vocoder.voice(prompt), lambda n: _silent(vocoder, n))
    codes = list(range(28))
    lengths = [len(vocoder.stream([stream], [codes], [last])[0]) for last in (False, False, True)]
    assert lengths == [50 * 480 - 3840, 50 * 480, 56 * 480 + 3840]


def say(bench: Bench, rule: SpeechRule, order: SpeechOrder) -> list[int]:
    [codes] = bench.brain.talker.say([order], rule)
    return codes


def test_25_the_end_code_never_leaves(bench: Bench) -> None:
    talker = bench.brain.talker
    context = talker.open()
    rows = bench.model.tts.condition([1, 2], torch.randn(2, 256), [3])
    order = SpeechOrder(context, rows, [], 0, 400, sampling.seeded(1))
    codes = say(bench, sampling.TURN_SPEECH, order)
    assert 0 < len(codes) < 400
    assert max(codes) < talker.eos
    # The end of a condition is not that of the speech: it goes on from the same context.
    before = len(context)
    more = say(bench, sampling.TURN_SPEECH, replace(order, min_codes=3))
    assert len(context) == before + len(rows) + len(more)
    assert order.recent == codes + more
    context.close()


def test_26_context_holds_condition_and_twenty_five(bench: Bench) -> None:
    context = bench.brain.talker.open()
    rows = bench.model.tts.condition([1, 2], torch.randn(2, 256), [3])
    order = SpeechOrder(context, rows, [], 25, 25, greedy, is_last_fed=True)
    assert len(say(bench, SpeechRule(), order)) == 25
    assert len(context) == len(rows) + 25
    assert context.position == len(context)
    context.close()


def test_27_duplex_speech_is_not_narrowed() -> None:
    scores = torch.randn(1, 100)
    assert torch.equal(sampling.speech_narrowed(scores, DuplexRule().speech), scores)


def test_29_truncating_keeps_so_many(bench: Bench) -> None:
    context = bench.brain.llm.open()
    bench.brain.llm.feed([context], [bench.brain.llm.embed(range(9))])
    context.engine.pool.truncate(context.slot, 4)
    assert len(context) == 4
    context.close()


def test_30_window_waits_for_the_turn_to_end(bench: Bench) -> None:
    window = WindowRule("basic", high_rows=60, low_rows=40, patience_rows=400)
    played = Played(bench, DuplexRule(window=window))
    ids, said = bench.tokens.ids, words(bench, " hello there")
    for _ in range(4):
        played.unit([ids.speak, *said, ids.chunk_eos])
    assert played.session.thinking.window.num_dropped == 0
    played.unit([ids.speak, ids.turn_eos, ids.chunk_eos])
    assert played.session.thinking.window.num_dropped > 0
    assert len(played.session.thinking.context) <= 40
    played.close()


def test_31_no_bos_and_im_end_does_not_stop_a_unit(bench: Bench, played: Played) -> None:
    assert bench.tokens.encode("") == []
    assert bench.tokens.encode("<|im_start|>") == [bench.tokens.ids.im_start]
    ids = bench.tokens.ids
    output = played.unit([ids.speak, ids.im_end, *words(bench, "o"), ids.chunk_eos])
    assert output.text == "o"


def test_32_slice_rows_are_lines_offline_and_not_in_duplex(bench: Bench) -> None:
    from omni.media.slicing import plan

    text = Places(64, 5).image(plan((800, 1600), 4), None)
    assert text.count("\n") == plan((800, 1600), 4).grid[1] - 1 > 0  # type: ignore[index]


def test_33_marks_stand_around_references_and_not_around_units(
    bench: Bench, played: Played
) -> None:
    ids = bench.tokens.ids
    played.unit([ids.listen])
    assert ids.audio_start not in played.fed_ids()


def test_34_offline_sound_by_the_second(bench: Bench) -> None:
    text = Places(64, 5).audio_by_second(42400)
    counts = [part.count("<unk>") for part in text.split("<|audio_end|>")[:-1]]
    assert counts == [10, 10, 6]


def test_35_padding_of_short_neighbours_is_seen_as_released(bench: Bench) -> None:
    short, long = bench.pack.stream((0, 24000)), bench.pack.stream((30000, 71600))
    ear = bench.brain.ear
    alone, beside = ear.clips([short], 1.0)[0], ear.clips([short, long], 1.0)[0]
    assert (alone - beside).abs().max() > 0.1
    even = ear.clips([short, short], 1.0)
    torch.testing.assert_close(even[0], alone, atol=1e-4, rtol=1e-4)


def test_41_frames_of_different_size_stay_frame_major(bench: Bench) -> None:
    resampler = bench.model.resampler
    x = torch.randn(2, 6, 64)
    sizes = torch.tensor([[2, 3], [1, 2]])
    x[1, 2:] = 1e4  # padding of the smaller frame
    clean = x.clone()
    clean[1, 2:] = 0
    assert torch.equal(resampler(x, sizes, [[3, 4]]), resampler(clean, sizes, [[3, 4]]))


def test_42_the_tokenizer_needs_no_code_of_the_checkpoint(bench: Bench) -> None:
    assert type(bench.tokens.tokenizer).__module__.startswith("transformers.")
    assert bench.tokens.bad_ids


def test_43_units_are_cut_by_characters_only_in_the_demo(bench: Bench, played: Played) -> None:
    ids, said = bench.tokens.ids, words(bench, " the weather is nice and there")
    text = played.unit([ids.speak, *said, ids.chunk_eos]).text
    assert 0 < len(text) < 28
    free = Played(bench, DuplexRule(max_chars=None))
    assert free.unit([ids.speak, *said, ids.chunk_eos]).text == bench.tokens.decode(said)
    free.close()


def test_44_nothing_lowers_precision() -> None:
    assert not torch.backends.cuda.matmul.allow_tf32


def test_context_prompt_is_heard_in_chunks_of_a_second(bench: Bench) -> None:
    """Found later, 4: duplex and chat hear the reference in chunks, half duplex all at once."""
    steps: list = []
    played = Played(bench, DuplexRule())
    reference = SystemPrompt(PROMPT.prefix, PROMPT.suffix, bench.pack.sound("ref_audio"))
    work = played.duplex.open(reference, StubStream(), greedy, greedy)
    session = run(bench.brain, traced(work, steps, lambda wish: None))
    assert [s.wish.chunk_s for s in steps if isinstance(s.wish, HearClip)] == [1.0]
    session.close()
    played.close()


def test_a_mark_in_the_users_words_is_refused(bench: Bench) -> None:
    places = Places(64, 5)
    messages = [Message("user", ("look: <audio>./</audio>", Sound(16000)))]
    with pytest.raises(ValueError, match="mark"):
        write_chat(bench.tokens, places, messages, "\n", has_image_ids=True)


def test_whisper_filters_are_slaney() -> None:
    assert mel.FILTERS.shape == (201, 80)
    assert mel.FILTERS[:, 79].sum() == pytest.approx(mel.FILTERS[:, 10].sum(), rel=0.1)
