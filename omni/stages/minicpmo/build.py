"""The stages of the minicpm-o brain, from the settings and the checkpoint's folder.

Each stage reads its own tensors of the checkpoint and checks the names and shapes of all.
"""

from pathlib import Path

import torch

from omni.config import OmniConfig
from omni.config_duplex import DuplexConfig
from omni.errors import ConfigError
from omni.media.pictures import PictureLimits
from omni.models.minicpmo.brain import Ears, Eyes, Mind, Mouth, Room
from omni.models.minicpmo.checkpoint import MiniCPMO, Part, free_bytes, load, needed_bytes
from omni.models.minicpmo.cloning import Cloner
from omni.models.minicpmo.config import NO_SPEECH, MiniCPMOConfig, read_config
from omni.models.minicpmo.quantized import load_quantized
from omni.models.minicpmo.rounds import RowLimits
from omni.models.minicpmo.sampling import Decision, TextRule
from omni.models.minicpmo.token2wav_files import load_token2wav
from omni.models.minicpmo.tokens import Tokens
from omni.models.minicpmo.turns import HalfDuplexRule
from omni.models.minicpmo.unit import DuplexRule
from omni.models.minicpmo.window import WindowRule
from omni.stages.base import Stage
from omni.stages.minicpmo.answer import AnswerStage
from omni.stages.minicpmo.hear import FULL_DUPLEX, HALF_DUPLEX, HearStage
from omni.stages.minicpmo.see import SeeStage
from omni.stages.minicpmo.silent import SilentStage
from omni.stages.minicpmo.speak import Organs, SpeakStage
from omni.stages.minicpmo.think import ThinkStage
from omni.stages.minicpmo.voices import Voices

VOCODERS = ("assets/token2wav", "token2wav")  # where the official folder has it, or a plain one


def checkpoint(config: OmniConfig) -> Path:
    """The folder of the checkpoint.

    Raises:
        ConfigError: none is set, or it is no such folder.
    """
    folder = config.brain.checkpoint
    if folder is not None and (folder / "config.json").is_file():
        return folder
    found = "no checkpoint is set" if folder is None else f"{folder} has no config.json"
    advice = "set brain.checkpoint to the official MiniCPM-o 4.5 folder"
    raise ConfigError(f"the minicpm-o brain: {found}: {advice}", param="brain.checkpoint")


def admit(config: OmniConfig) -> MiniCPMOConfig:
    """The checkpoint's own config.

    Raises:
        ConfigError: there is no checkpoint, or it cannot be served as the settings say.
    """
    read = read_config(checkpoint(config))
    if read.talker is None and config.brain.duplex.mode == "full":
        raise ConfigError(
            f"MiniCPM-o {read.version} has no full duplex: serve it with --config minicpm-o-half; "
            + NO_SPEECH,
            param="brain.duplex.mode",
        )
    return read


def minicpmo_stage(config: OmniConfig, name: Part) -> Stage:
    """One stage, not loaded yet. Raises ConfigError as `checkpoint` does."""
    read = admit(config)
    duplex, see = config.brain.duplex, config.brain.see
    voices = Voices(duplex.voices, duplex.clip_s)
    is_half = duplex.mode == "half"
    match name:
        case "hear":
            manner = HALF_DUPLEX if is_half else FULL_DUPLEX
            return HearStage(lambda: Ears(_model(config, "hear")), voices, manner)
        case "see":
            limits = PictureLimits(see.max_picture_bytes, see.max_pixels, see.scaled_pixels)
            make = lambda: Eyes(_model(config, "see"))  # noqa: E731
            return SeeStage(make, limits, duplex.max_slices, duplex.resampler)
        case "think":
            if is_half:
                return AnswerStage(lambda: _mind(config), half_duplex_rule(config), voices)
            return ThinkStage(lambda: _mind(config), duplex_rule(config), voices)
        case "speak" if read.talker is None:
            return SilentStage()
        case "speak":
            rule, half = duplex_rule(config), half_duplex_rule(config)
            return SpeakStage(lambda: _organs(config), rule, voices, duplex.cushion_ms, half)


def survey(config: OmniConfig) -> tuple[float, float, str]:
    """GiB that the weights take, GiB that are free, and where.

    Raises:
        ConfigError, AssetError: there is no checkpoint, no such device, or a file is missing.
    """
    folder, where = checkpoint(config), device(config)
    read_config(folder)
    needed = needed_bytes(folder, dtype(config))
    return needed / (1 << 30), free_bytes(where) / (1 << 30), str(where)


def duplex_rule(config: OmniConfig) -> DuplexRule:
    """How sessions behave, as the settings say.

    Raises:
        ConfigError: a context has no room for what its window keeps.
    """
    duplex, window = config.brain.duplex, config.brain.duplex.window
    least = window.high_rows + window.patience_rows + _unit_rows(duplex)
    is_bound = duplex.mode == "full" and window.kind == "basic"
    if is_bound and config.brain.think.context_tokens < least:
        raise ConfigError(
            f"a context needs {least} rows: window.high_rows, patience_rows and a unit's",
            param="brain.think.context_tokens",
        )
    return DuplexRule(
        decision=Decision(
            temperature=duplex.temperature,
            top_k=duplex.top_k,
            top_p=duplex.top_p,
            length_penalty=duplex.length_penalty,
            listen_scale=duplex.listen_scale,
        ),
        window=WindowRule(
            "off" if window.kind == "none" else window.kind,
            window.high_rows,
            window.low_rows,
            window.max_units,
            window.previous_tokens,
            patience_rows=window.patience_rows,
        ),
        max_tokens=duplex.unit_tokens,
        max_chars=duplex.unit_chars,
        num_forced_listens=duplex.num_forced_listens,
    )


def half_duplex_rule(config: OmniConfig) -> HalfDuplexRule:
    """How sessions behave in half duplex, as the settings say.

    Raises:
        ConfigError: a context has no room for what its window keeps.
    """
    duplex, think, half = config.brain.duplex, config.brain.think, config.brain.duplex.half
    window = duplex.window
    thoughts = half.max_thoughts
    least = window.high_rows + _unit_rows(duplex) + think.max_reply_tokens + thoughts
    if duplex.mode == "half" and window.kind != "none" and think.context_tokens < least:
        raise ConfigError(
            f"a context needs {least} rows: window.high_rows, a unit's, thoughts and an answer's",
            param="brain.think.context_tokens",
        )
    text = TextRule(half.temperature, half.top_k, half.top_p, half.repetition_penalty)
    return HalfDuplexRule(
        text=text,
        max_tokens=think.max_reply_tokens,
        max_thoughts=half.max_thoughts,
        limits=None if window.kind == "none" else RowLimits(window.high_rows, window.low_rows),
    )


def _unit_rows(duplex: DuplexConfig) -> int:
    """The most rows that a unit takes: pictures with their marks, sound, words, its marks."""
    return duplex.num_pictures * (1 + duplex.max_slices) * 66 + 10 + duplex.unit_tokens + 4


def device(config: OmniConfig) -> torch.device:
    """Where the models run. Raises ConfigError if there is no such device."""
    name = config.brain.duplex.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"{name!r} is no device", param="brain.duplex.device") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("there is no CUDA device here", param="brain.duplex.device")
    return chosen


def dtype(config: OmniConfig) -> torch.dtype:
    name = config.brain.duplex.dtype
    if name == "auto":
        name = "bfloat16" if device(config).type == "cuda" else "float32"
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def _model(config: OmniConfig, part: Part) -> MiniCPMO:
    threads = {
        "hear": config.brain.hear.num_threads,
        "see": config.brain.see.num_threads,
        "think": config.brain.think.num_threads,
        "speak": config.brain.speak.num_threads,
    }
    torch.set_num_threads(threads[part])
    folder, precision = checkpoint(config), config.brain.duplex.precision
    if part == "think" and precision != "full":
        return load_quantized(folder, device(config), dtype(config), precision, [part])
    return load(folder, device(config), dtype(config), [part])


def _room(config: OmniConfig) -> Room:
    return Room(config.brain.think.num_slots, config.brain.think.context_tokens)


def _mind(config: OmniConfig) -> Mind:
    return Mind(
        _model(config, "think"), Tokens(checkpoint(config), admit(config).version), _room(config)
    )


def _organs(config: OmniConfig) -> Organs:
    folder = checkpoint(config)
    found = [folder / name for name in VOCODERS if (folder / name).is_dir()]
    if not found:
        raise ConfigError(f"{folder} has no {VOCODERS[0]}", param="brain.checkpoint")
    vocoder = load_token2wav(found[0], device(config))
    cloner = None
    if config.brain.duplex.voices is not None:
        num_threads = config.brain.speak.num_threads
        cloner = Cloner.where_possible(found[0], vocoder.dims, num_threads)
    return Organs(Mouth(_model(config, "speak"), vocoder, _room(config)), vocoder, cloner)
