"""Which stages a profile's brain has, and how each is made from it.

The one place that knows both the settings and the models; stages are given ready parts.
"""

import logging
import os
from pathlib import Path
from typing import Literal

from omni import assets
from omni.config import OmniConfig, RemoteCoreConfig
from omni.dialog.clauses import ClauseSplitter
from omni.errors import ConfigError
from omni.media.pictures import PictureLimits
from omni.models.completions import Endpoint
from omni.models.core import Core
from omni.stages.base import Stage
from omni.stages.hear import HearStage
from omni.stages.see import Budget, Looker, SeeStage
from omni.stages.speak import SpeakStage, Synthesiser
from omni.stages.stub import stub_stage
from omni.stages.think import ThinkStage
from omni.stages.vad import VadStage
from omni.types import STAGES, StageName

log = logging.getLogger(__name__)


def stage_names(config: OmniConfig) -> tuple[StageName, ...]:
    """The stages of the profile's brain."""
    brain = config.brain
    return tuple(name for name in STAGES if name != "see" or brain.see.enabled)


def check(config: OmniConfig) -> None:
    """What can be told of a brain before its stages are placed. Raises ConfigError."""
    if config.brain.kind == "minicpm-o":
        from omni.models.minicpmo.config import NO_SPEECH
        from omni.stages.minicpmo.build import admit

        read = admit(config)
        if read.talker is None:
            log.warning("MiniCPM-o %s: %s", read.version, NO_SPEECH)


def build_stage(config: OmniConfig, name: StageName) -> Stage:
    """One stage, not loaded yet.

    Raises:
        ConfigError: the brain has no such stage.
        AssetError: a model file is missing.
    """
    brain = config.brain
    if name not in stage_names(config):
        raise ConfigError(f"the {brain.kind} brain has no stage {name}", param="brain")
    is_remote = name == "think" and isinstance(brain.think.core, RemoteCoreConfig)
    if brain.kind == "stub" and not is_remote:
        return stub_stage(name, brain.stub)
    if brain.kind == "minicpm-o" and name != "vad":
        # Imported here: no other brain needs torch's transformers.
        from omni.stages.minicpmo.build import minicpmo_stage

        return minicpmo_stage(config, name)
    match name:
        case "vad":
            files = ("silero_vad.onnx", "smart_turn.onnx")
            return VadStage(*(assets.resolve(config, file) for file in files))
        case "hear":
            folder = assets.folder(config, "whisper")
            return HearStage(folder, brain.hear.num_threads, brain.hear.context_s)
        case "see":
            see = brain.see
            return SeeStage(
                lambda: _looker(config),
                PictureLimits(see.max_picture_bytes, see.max_pixels, see.scaled_pixels),
                Budget(see.cpu_share),
            )
        case "think":
            return ThinkStage(lambda: _core(config))
        case "speak":
            return SpeakStage(
                lambda: _voice(config),
                lambda: ClauseSplitter(brain.speak.first_clause_words, brain.speak.clause_words),
            )


def _looker(config: OmniConfig) -> Looker:
    from omni.stages.looker import EmbeddedLooker

    return EmbeddedLooker(assets.folder(config, "see"), config.brain.see.num_threads)


def prepare(config: OmniConfig) -> None:
    """Make, once, what a stage needs beside its files: the core's graphs and int8 weights.

    Raises:
        AssetError: a model file is missing or damaged.
    """
    has_core = config.brain.kind == "embedded" and config.brain.think.model in config.files
    if has_core and _core_name(config) == "onnx":
        _converted(config)


def _core_name(config: OmniConfig) -> Literal["onnx", "llama", "remote"]:
    name = config.brain.think.core
    if isinstance(name, RemoteCoreConfig):
        return "remote"
    if name != "auto":
        return name
    import torch

    return "onnx" if torch.cpu.get_capabilities().get("avx512_vnni") else "llama"


def _converted(config: OmniConfig) -> Path:
    from omni.models.embedded import gguf

    name = config.brain.think.model
    folder = assets.derived(config, name, gguf.RECIPE)
    if not folder.is_dir():
        gguf.convert(assets.resolve(config, name), folder)
    return folder


def _core(config: OmniConfig) -> Core:
    # Imported here, in the stage that needs it: the other actors stay small.
    think = config.brain.think
    if isinstance(think.core, RemoteCoreConfig):
        from omni.models.remote_core import RemoteCore

        return RemoteCore(endpoint_of(think.core), think.num_slots, think.core.parameters)
    if _core_name(config) == "llama":
        from omni.models.embedded.llama import LlamaCore

        model = assets.resolve(config, think.model)
        limits = (think.num_slots, think.context_tokens, think.num_threads)
        return LlamaCore(model, *limits, think.dry_multiplier)
    import torch

    from omni.models.embedded.onnx_decoder import OnnxDecoder
    from omni.models.slot_core import SlotCore

    torch.set_num_threads(think.num_threads)
    limits = (think.num_slots, think.context_tokens, think.num_threads)
    decoder = OnnxDecoder(_converted(config), *limits)
    return SlotCore(decoder, decoder.tokenizer, decoder.end_ids, think.dry_multiplier)


def endpoint_of(remote: RemoteCoreConfig) -> Endpoint:
    """Where the core is, with its key from this process's environment."""
    key = os.environ.get(remote.key_variable)
    limits_s = (remote.connect_timeout_s, remote.silence_timeout_s)
    return Endpoint(remote.base_url, remote.model, key, *limits_s)


def _voice(config: OmniConfig) -> Synthesiser:
    from omni.models.embedded.kokoro import Kokoro

    voice = Kokoro(
        assets.resolve(config, "kokoro.onnx"),
        assets.resolve(config, "kokoro/vocab.json"),
        assets.folder(config, "kokoro/voices"),
        config.brain.speak.num_threads,
    )
    voice.synthesise("Ready.", config.brain.speak.voice, config.brain.speak.speed)
    return voice
