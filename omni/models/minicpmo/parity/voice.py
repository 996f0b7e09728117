"""The speech LM and token2wav against a pack."""

import re
from typing import Any

import torch
from torch import Tensor

from omni.models.minicpmo.decoder import Context
from omni.models.minicpmo.hift import SourceNoise, no_noise
from omni.models.minicpmo.parity.bench import Bench, captured, read_by, replay
from omni.models.minicpmo.parity.pack import EXACT, LOGITS, PITCH, STATES, WAVE, Item
from omni.models.minicpmo.sampling import SpeechRule
from omni.models.minicpmo.speech import SpeechOrder
from omni.models.minicpmo.token2wav import Stream, Token2Wav
from omni.models.minicpmo.token2wav_files import load_token2wav
from omni.models.minicpmo.voice import VoicePrompt

_NOISE_SCALE = 64  # of stored Gaussian numbers


def check_tts_chunk(bench: Bench, item: Item) -> None:
    talker = bench.brain.talker
    head = talker.model.head_code[0].get_parameter("weight")
    item.array("head_weight_folded_rows", head[[0, 1, 2, -1]], STATES)
    turns: dict[str, Context] = {}
    for case in item.json:
        if case["mode"] not in turns:
            turns[case["mode"]] = talker.open()
        _check_chunk(bench, item, case, turns[case["mode"]])
    for context in turns.values():
        context.close()


def _check_chunk(bench: Bench, item: Item, case: dict[str, Any], context: Context) -> None:
    key, talker = case["key"], bench.brain.talker
    condition = _condition(bench, item, key, [talker.model.config.audio_bos_id])
    item.array(f"{key}.condition", condition, STATES)
    rule = SpeechRule(case["temperature"], case["repetition_penalty"])
    item.fields(key, case, {"text_start_pos": context.position})
    most = case["max_new_token"] - 1
    order = SpeechOrder(
        context, condition, [], min(case["min_new_tokens"], most), most,
        replay(case["uniforms"]), is_last_fed=True,
    )  # fmt: skip
    with captured(talker.model.head_code[0]) as steps:
        [codes] = talker.say([order], rule)
    logits = torch.cat(steps)
    item.array(f"{key}.codes", torch.tensor(codes), EXACT)
    item.array(f"{key}.raw_logits_first", logits[0], LOGITS)
    item.array(f"{key}.raw_logits_last", logits[-1], LOGITS)
    item.array(f"{key}.raw_top", logits.max(-1).values, LOGITS)
    item.array(f"{key}.raw_argmax", logits.argmax(-1), EXACT)
    actual = {"n_steps": len(logits), "n_codes": len(codes), "kv_after": len(context)}
    item.fields(key, case, actual)


def check_tts_stream(bench: Bench, item: Item) -> None:
    p = item.json["params"]
    rule = SpeechRule(
        p["temperature"], p["repetition_penalty"], p["window"], p["top_k"], p["top_p"],
        p["min_tokens_to_keep"],
    )  # fmt: skip
    turns: dict[str, SpokenTurn] = {}
    for case in item.json["calls"]:
        name = case["mode"] if "yields" in case else case["key"]
        if name not in turns:
            turns[name] = SpokenTurn(bench, rule)
        turns[name].check(item, case)
    for turn in turns.values():
        turn.context.close()


class SpokenTurn:
    """A recorded turn-based answer."""

    def __init__(self, bench: Bench, rule: SpeechRule) -> None:
        self.bench = bench
        self.rule = rule
        self.context = bench.brain.talker.open()
        self.said: list[int] = []
        self.waiting: list[int] = []

    def check(self, item: Item, case: dict[str, Any]) -> None:
        key, config = case["key"], self.bench.brain.config.speech
        is_whole = "yields" not in case
        is_end = is_whole or case["text_finished"]
        marks = [config.text_eos_id, config.audio_bos_id] if is_end else [config.audio_bos_id]
        condition = _condition(self.bench, item, key, marks)
        item.array(f"{key}.inputs_embeds", condition, STATES)
        words = condition[: len(condition) - len(marks)]
        item.array(f"{key}.condition_before_bos", words, STATES)
        order = SpeechOrder(
            self.context, condition, self.said, case.get("min_new_token", 0),
            case["max_new_token"], replay(case.get("uniforms")),
        )  # fmt: skip
        [codes] = self.bench.brain.talker.say([order], self.rule)
        item.array(f"{key}.codes", torch.tensor(codes), EXACT)
        self.waiting += codes
        yields = self._yields(config.chunk_codes, is_end=is_end)
        actual = {
            "yields": yields,
            "generated": codes,
            "buffer_left": self.waiting,
            "n_codes": len(codes),
            "text_start_pos_after": self.context.position,
            "kv_after": len(self.context),
        }
        item.fields(key, case, actual)

    def _yields(self, size: int, *, is_end: bool) -> list[dict[str, Any]]:
        chunks = []
        while len(self.waiting) >= size:
            chunks.append({"codes": self.waiting[:size], "last": False})
            self.waiting = self.waiting[size:]
        if is_end:
            chunks.append({"codes": self.waiting, "last": True})
            self.waiting = []
        return chunks


def _condition(bench: Bench, item: Item, key: str, marks: list[int]) -> Tensor:
    ids, hidden = item.input(f"{key}.token_ids"), item.input(f"{key}.hidden")
    return bench.brain.talker.model.condition(ids.tolist(), hidden, marks)


def check_token2wav(bench: Bench, item: Item) -> None:
    prompt, noise = _prompt(item), item.input("rand_noise")
    folder = bench.pack.folder / "token2wav"
    vocoder = load_token2wav(folder, torch.device("cpu"), noise.T)
    voice = vocoder.voice(prompt)
    encoder, dit = voice.state.encoder, voice.state.dit
    item.array("setup.conformer_cnn_cache", torch.cat([encoder.lookahead, encoder.up], 2), LOGITS)
    # The released cache holds the code-rate half twice in a row, to be as long as the other.
    twice = torch.cat([encoder.tokens] * vocoder.dims.encoder.stride, dim=3)
    states = torch.cat([twice, encoder.frames])
    _check_last(item, "setup.conformer_att_cache", states)
    item.array("setup.estimator_cnn_cache", dit.convolution, LOGITS)
    _check_last(item, "setup.estimator_att_cache", dit.attention)
    if "speech_window_head" in item.arrays:
        head = len(item.arrays["speech_window_head"])
        item.array("speech_window_head", vocoder.fade[:head], STATES)
    stream = Stream(voice, no_noise(vocoder.dims.hift))
    for index, call in enumerate(item.json["calls"]):
        _check_call(item, vocoder, stream, (f"call{index}", call))
    _check_whole(item, vocoder, prompt)
    with item.part():
        _check_noisy(item, vocoder)


def _check_last(item: Item, name: str, states: Tensor) -> None:
    """Compare the last frames of a cache, as many as the name says."""
    for key in item.keys:
        match = re.fullmatch(rf"{re.escape(name)}_last(\d+)", key)
        if match:
            item.array(key, states[..., -int(match[1]) :, :], LOGITS)


def _check_call(
    item: Item, vocoder: Token2Wav, stream: Stream, named: tuple[str, dict[str, Any]]
) -> None:
    name, call = named
    hift = vocoder.hift
    with (
        captured(vocoder.flow.encoder_proj) as features,
        read_by(hift.f0_predictor) as mel,
        captured(hift.f0_predictor) as f0,
        captured(hift.m_source) as source,
    ):
        [wave] = vocoder.stream([stream], [call["tokens"]], [call["last_chunk"]])
    num_frames = features[0].shape[1]
    item.array(f"{name}.mel", mel[0][0, :, -num_frames:], STATES)
    item.array(f"{name}.f0", f0[0][0], PITCH)
    item.array(f"{name}.source", source[0][0], WAVE)
    item.array(f"{name}.wav", wave, WAVE)
    tail = stream.tail
    assert tail is not None
    state = stream.state
    actual = {
        "mel_frames": num_frames,
        "wav_samples": len(wave),
        "att_cache_frames": state.dit.attention.shape[4],
        "conformer_cache_frames": state.encoder.frames.shape[3],
    }
    item.fields(name, call, actual)


def _check_whole(item: Item, vocoder: Token2Wav, prompt: VoicePrompt) -> None:
    given = item.json["whole"]
    mel = vocoder.whole(prompt, given["tokens"], given["n_timesteps"])
    item.array("whole.mel", mel.T, STATES)
    noise = no_noise(vocoder.dims.hift)(len(mel) * vocoder.dims.hift.frame_samples)
    item.array("whole.wav", vocoder.sound(mel[None], noise)[0], WAVE)


def _check_noisy(item: Item, vocoder: Token2Wav) -> None:
    mel, phase = item.input("noisy.mel"), item.input("noisy.rand_ini")
    breath = item.input("noisy.noise_x64")
    noise = SourceNoise(phase, breath.float()[None] / _NOISE_SCALE)
    with captured(vocoder.hift.m_source) as source:
        wave = vocoder.sound(mel.T[None], noise)
    item.array("noisy.source", source[0][0], WAVE)
    item.array("noisy.wav", wave[0], WAVE)


def _prompt(item: Item) -> VoicePrompt:
    codes, mel, speaker = (item.input(n) for n in ("prompt_tokens", "prompt_mel", "spk"))
    return VoicePrompt(tuple(codes.tolist()), mel, speaker)
