"""MiniCPM-o 2.6: what it hears and reads is answered in writing; its speech model is left out."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import Qwen2ForCausalLM

from omni.errors import AssetError, ConfigError
from omni.models.minicpmo.answering import Answering
from omni.models.minicpmo.brain import Ears, Eyes, Mind, Room
from omni.models.minicpmo.checkpoint import MiniCPMO, load
from omni.models.minicpmo.config import parse_config, read_config
from omni.models.minicpmo.parity.bench import Step, traced
from omni.models.minicpmo.parts import PictureRows, SoundRows
from omni.models.minicpmo.rounds import ExactRounds
from omni.models.minicpmo.sampling import greedy
from omni.models.minicpmo.scheduler import run
from omni.models.minicpmo.tokens import NEWER, STRINGS, Tokens
from omni.models.minicpmo.turns import HalfDuplexRule, Manner
from omni.models.minicpmo.wishes import Feed, HearClip, See
from omni.stages.build import build_stage, check
from omni.types import Speech, Token
from omni.units import Respond, TurnPart, TurnRead, UnitSound
from tests.stages.minicpmo.flow import PACK, Flow, recording, second, tiny

CPU = torch.device("cpu")
LEFT_OUT = {  # of its ConditionalChatTTS, by their names there
    "tts.projector.linear1.weight": (48, 256),
    "tts.emb_code.3.weight": (626, 48),
    "tts.head_code.0.parametrizations.weight.original0": (626, 1),
    "tts.head_code.0.parametrizations.weight.original1": (626, 48),
    "tts.dvae.coef": (1, 100, 1),
    "tts.model.layers.0.self_attn.q_proj.weight": (48, 48),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint in the layout of 2.6, with random weights."""
    path: Path = tmp_path_factory.mktemp("minicpm-o-2_6")
    tree = json.loads((PACK / "config.json").read_text())
    for name in ("head_dim", "attention_bias", "audio_pool_step", "tts_config"):
        del tree[name]
    tree |= {"version": "2.6", "tts_config": {"llm_dim": 256}}
    (path / "config.json").write_text(json.dumps(tree))
    torch.manual_seed(26)
    tensors = {  # some parameters are memory as it was found
        name: torch.nan_to_num(t, 0, 0, 0).clamp(-1, 1).contiguous()
        for name, t in MiniCPMO(parse_config(tree)).state_dict().items()
    }
    tensors |= {name: torch.zeros(shape) for name, shape in LEFT_OUT.items()}
    save_file(tensors, path / "model.safetensors")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(PACK / name, path)
    tokenizer = json.loads((PACK / "tokenizer.json").read_text())
    unknown = {STRINGS[name] for name in NEWER}
    for added in tokenizer["added_tokens"]:
        if added["content"] in unknown:
            added["content"] = f"<old_{added['id']}>"
            tokenizer["model"]["vocab"].pop(added["content"], None)
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = json.loads((path / "tokenizer_config.json").read_text())
    settings.pop("added_tokens_decoder", None)
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    return path


def test_it_is_recognised(folder: Path) -> None:
    config = read_config(folder)
    assert (config.version, config.audio_pool, config.llm.model_type) == ("2.6", 2, "qwen2")
    with pytest.raises(ConfigError, match=r"2\.6: its speech path is not supported yet"):
        _ = config.speech
    with pytest.raises(AssetError, match="no <"):
        Tokens(folder)
    assert Tokens(folder, "2.6").ids.think == -1


def test_every_tensor_but_those_of_its_speech_is_accounted_for(
    folder: Path, tmp_path: Path
) -> None:
    model = load(folder, CPU, torch.float32)
    assert not any(name.startswith("tts.") for name in model.state_dict())
    shutil.copytree(folder, tmp_path / "other")
    extra = {"llm.model.layers.0.self_attn.q_norm.weight": torch.zeros(64)}
    save_file({**model.state_dict(), **extra}, tmp_path / "other" / "model.safetensors")
    with pytest.raises(AssetError, match=r"unexpected tensor llm\.model\.layers\.0\.self_attn"):
        load(tmp_path / "other", CPU, torch.float32)


def test_words_are_those_of_transformers_on_the_same_embeddings(folder: Path) -> None:
    """Sound by 25 vectors a second, a picture and words in, words out."""
    model = load(folder, CPU, torch.float32)
    ears, eyes = Ears(model), Eyes(model)
    mind = Mind(model, Tokens(folder, "2.6"), Room(1, 1024))
    answering = Answering(mind, HalfDuplexRule())
    [sound] = ears.answer([HearClip(torch.from_numpy(recording()[:32000].copy()), None)])
    assert len(sound) == 50
    [tiles] = eyes.answer([See(torch.full((120, 160, 3), 90, dtype=torch.uint8).numpy(), 1)])
    steps: list[Step] = []

    def played(work: Any) -> Any:
        return run(mind, traced(work, steps, lambda wish: None))

    context = mind.llm.open()
    thinking = played(answering.begin(context, ("Be brief.",), greedy, ExactRounds()))
    played(answering.read(thinking, (PictureRows(tiles, 0), SoundRows(sound), "What is it?")))
    played(answering.answer(thinking, Manner(is_thinking=True, max_tokens=12)))
    answer = thinking.answer
    assert len(answer.words) == 12
    assert answer.num_thoughts == 0  # it cannot think, whatever is wished

    other = Qwen2ForCausalLM(read_config(folder).llm).eval()
    other.load_state_dict(model.llm.state_dict())
    fed = [step for step in steps if isinstance(step.wish, Feed)]
    rows = torch.cat([mind.embed(step.wish.groups) for step in fed])
    with torch.inference_mode():
        states = other.model(inputs_embeds=rows[None]).last_hidden_state[0]
    torch.testing.assert_close(torch.cat([step.answer for step in fed]), states, atol=1e-4, rtol=0)
    text = mind.tokens.decode_all(
        [i for step in fed for group in step.wish.groups for i in group.ids]
    )
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n<image>")
    assert "<|im_start|>assistant\n" in text
    assert "tts_bos" not in text


def test_it_answers_in_writing_whatever_is_asked_for(folder: Path) -> None:
    overrides = (f"brain.checkpoint={folder}", "brain.duplex.mode=half")
    flow = Flow(tiny(*overrides, "brain.think.max_reply_tokens=8"))
    flow.open("s")
    stamp = ("s", 0, 0)
    told = flow.run([TurnPart(*stamp, 0, "", has_sound=True), UnitSound(*stamp, second(0))])
    [read] = [chunk for chunk in told if isinstance(chunk, TurnRead)]
    assert read.context_tokens > 25
    told = flow.run([Respond("s", 0, 1, "r", is_thinking=False, is_spoken=True, max_tokens=8)])
    words = [chunk for chunk in told if isinstance(chunk, Token)]
    sounds = [chunk for chunk in told if isinstance(chunk, Speech)]
    assert words[-1].finish
    assert "".join(word.text for word in words) == "".join(sound.text for sound in sounds) != ""
    assert sum(len(sound.samples) for sound in sounds) == 0
    assert sounds[-1].is_last


def test_what_it_cannot_do_is_said_before_the_server_starts(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = f"brain.checkpoint={folder}"
    for refuse in (check, lambda config: build_stage(config, "think")):
        with pytest.raises(ConfigError, match=r"2\.6 has no full duplex: .*minicpm-o-half"):
            refuse(tiny(checkpoint))
    with caplog.at_level(logging.WARNING):
        check(tiny(checkpoint, "brain.duplex.mode=half"))
    assert (
        "MiniCPM-o 2.6: its speech path is not supported yet: replies are text only" in caplog.text
    )
