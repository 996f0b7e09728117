"""Which stages a profile's brain has, and how each is made from it.

The one place that knows both the settings and the models; stages are given ready parts.
"""

from omni import assets
from omni.config import OmniConfig
from omni.dialog.clauses import ClauseSplitter
from omni.errors import ConfigError
from omni.models.core import Core
from omni.stages.base import Stage
from omni.stages.hear import HearStage
from omni.stages.speak import SpeakStage, Synthesiser
from omni.stages.stub import stub_stage
from omni.stages.think import ThinkStage
from omni.stages.vad import VadStage
from omni.types import StageName


def stage_names(config: OmniConfig) -> tuple[StageName, ...]:
    """The stages of the profile's brain."""
    if config.brain.kind == "stub":
        return ("vad", "hear", "see", "think", "speak")
    return ("vad", "hear", "think", "speak")


def build_stage(config: OmniConfig, name: StageName) -> Stage:
    """One stage, not loaded yet.

    Raises:
        ConfigError: the brain has no such stage.
        AssetError: a model file is missing.
    """
    brain = config.brain
    if brain.kind == "stub":
        return stub_stage(name, brain.stub)
    if brain.kind != "embedded":
        raise ConfigError(f"brain {brain.kind} is not built in yet", param="brain.kind")
    match name:
        case "vad":
            return VadStage(
                assets.resolve(config, "silero_vad.onnx"),
                assets.resolve(config, "smart_turn.onnx"),
            )
        case "hear":
            folder = assets.folder(config, "whisper")
            return HearStage(folder, brain.hear.num_threads, brain.hear.context_s)
        case "think":
            return ThinkStage(lambda: _core(config))
        case "speak":
            return SpeakStage(
                lambda: _voice(config),
                lambda: ClauseSplitter(brain.speak.first_clause_words, brain.speak.clause_words),
            )
        case _:
            raise ConfigError(f"the embedded brain has no stage {name}", param="brain")


def _core(config: OmniConfig) -> Core:
    # Imported here, in the stage that needs it: the other actors stay small.
    think = config.brain.think
    if think.core == "llama":
        from omni.models.embedded.llama import LlamaCore

        return LlamaCore(
            assets.resolve(config, think.model),
            think.num_slots,
            think.context_tokens,
            think.num_threads,
        )
    if think.core == "torch":
        import torch

        from omni.models.embedded import gguf
        from omni.models.torch_core import TorchCore

        torch.set_num_threads(think.num_threads)
        converted = assets.derived(config, think.model, "int8")
        if not converted.is_dir():
            gguf.convert(assets.resolve(config, think.model), converted)
        return TorchCore(*gguf.load(converted), think.num_slots, think.context_tokens)
    raise ConfigError(f"core {think.core} is not built in yet", param="brain.think.core")


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
