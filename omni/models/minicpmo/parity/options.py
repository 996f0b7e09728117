"""The options of the recorded classes, under their names, as rules of ours."""

from dataclasses import replace
from typing import Any

from omni.models.minicpmo.parity.bench import Bench
from omni.models.minicpmo.rounds import RowLimits
from omni.models.minicpmo.sampling import TURN_SPEECH, Decision, TextRule
from omni.models.minicpmo.turns import HalfDuplexRule
from omni.models.minicpmo.unit import DuplexRule, SystemPrompt
from omni.models.minicpmo.window import WindowRule

_TEXT = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "repetition_penalty": "repetition_penalty",
    "length_penalty": "length_penalty",
    "penalty_window": "repetition_window",
}
_SPEECH = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "repetition_penalty": "repetition_penalty",
    "window": "repetition_window",
}
_DECISION = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "text_repetition_penalty": "repetition_penalty",
    "text_repetition_window_size": "repetition_window",
    "length_penalty": "length_penalty",
    "listen_prob_scale": "listen_scale",
    "listen_top_k": "listen_top_k",
}
_WINDOW = {
    "sliding_window_mode": "kind",
    "basic_window_high_tokens": "high_rows",
    "basic_window_low_tokens": "low_rows",
    "context_max_units": "max_units",
    "context_previous_max_tokens": "previous_tokens",
    "marker": "marker",
}
_DUPLEX = {"force_listen_count": "num_forced_listens", "generate_audio": "is_spoken"}


def duplex_rule(tree: dict[str, Any]) -> DuplexRule:
    """The options of the recorded class as our rule; what it does not say is its default."""
    decision, base = Decision(), DuplexRule(is_as_released=True)
    if tree["variant"] == "release":
        decision = replace(decision, top_k=100, length_penalty=1.0)
        base = replace(base, max_chars=None, min_window=28)
    return replace(
        base,
        decision=_renamed(decision, _DECISION, tree["decode"]),
        window=_renamed(WindowRule(), _WINDOW, tree["options"] | tree["prepare"]),
        max_tokens=tree["max_new_speak_tokens_per_chunk"],
        **{
            ours: tree["options"][name] for name, ours in _DUPLEX.items() if name in tree["options"]
        },
    )


def system_prompt(tree: dict[str, Any], bench: Bench) -> SystemPrompt:
    given = tree["prepare"]
    reference = bench.pack.sound(given["ref_audio"]) if given["ref_audio"] else None
    if tree["variant"] != "release":
        return SystemPrompt(given["prefix"], given["suffix"], reference)
    opened, closed = ("\n<|audio_start|>", "<|audio_end|>") if given["ref_audio"] else ("", "")
    prefix = f"<|im_start|>system\n{given['prefix']}{opened}"
    return SystemPrompt(prefix, f"{closed}<|im_end|>", reference)


def halfduplex_rule(tree: dict[str, Any], step: dict[str, Any]) -> HalfDuplexRule:
    """The rule of one step of a half-duplex run."""
    limits = tree["text_window"]
    return HalfDuplexRule(
        text=_renamed(TextRule(), _TEXT, tree["llm_sampling"]),
        speech=_renamed(TURN_SPEECH, _SPEECH, tree["tts_params"]),
        max_tokens=step.get("max_new_tokens", 0),
        condition_tokens=tree["llm_sampling"]["chunk"],
        mel_context_frames=tree["cnn_redundancy_ms"] // 10,
        limits=limits and RowLimits(*limits),
    )


def _renamed(rule: Any, names: dict[str, str], options: dict[str, Any]) -> Any:
    """A rule of ours with the options a pack gives under other names."""
    return replace(rule, **{ours: options[name] for name, ours in names.items() if name in options})
