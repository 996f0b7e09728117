"""Settings of the minicpm-o brain; the defaults are those of its demo.

Beside them it reads `brain.think` (contexts), `brain.see` (limits of pictures) and `turn`.
"""

from typing import Literal

from pydantic import Field

from omni.config_section import Folder, Section


class WindowConfig(Section):
    """What of a long conversation is forgotten; never the system prompt."""

    kind: Literal["none", "basic", "context"] = Field(
        "basic", description="by rows, or by units while their words are re-told; none ends it"
    )
    high_rows: int = Field(4000, description="basic: more than so many are cut")
    low_rows: int = Field(3500, description="basic: to so many")
    max_units: int = Field(24, description="context: so many are kept")
    previous_tokens: int = 500
    patience_rows: int = Field(
        1000, description="beyond high_rows while it speaks: sliding then breaks its speech"
    )


class HalfDuplexConfig(Section):
    """An answer to a turn of the user's; `brain.think.max_reply_tokens` limits its words."""

    is_thinking: bool = Field(
        False, description="think before every answer; thoughts are neither spoken nor shown"
    )
    max_thoughts: int = Field(512, ge=1, description="tokens after which a thought is ended")
    temperature: float = Field(0.7, gt=0, description="of the words")
    top_k: int = Field(100, ge=0, description="words to choose from; 0 is all")
    top_p: float = Field(0.8, gt=0, le=1, description="probability to choose from")
    repetition_penalty: float = Field(1.02, gt=0, description="factor against words said lately")


class DuplexConfig(Section):
    """One unit a second, in which the model listens or speaks; it decides which."""

    mode: Literal["full", "half"] = Field(
        "full", description="half: the server finds the user's turns, and the model answers them"
    )
    half: HalfDuplexConfig = HalfDuplexConfig()

    device: str = Field("auto", description="cuda, cuda:1, cpu; auto is cuda where there is one")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the weights; auto is bfloat16 on cuda, else float32"
    )
    precision: Literal["full", "int8", "int4"] = Field(
        "full", description="of the LLM's linear layers; the smaller ones want torchao"
    )
    voices: Folder | None = Field(
        None, description="folder of voices: NAME.wav to imitate, NAME.safetensors to sound like"
    )
    clip_s: int = Field(
        10,
        ge=1,
        le=30,
        description="read of a recording; in the vocoder 65 MB a second and session",
    )
    seed: int | None = Field(None, description="of every session; null draws one for each")
    temperature: float = Field(0.7, gt=0, description="of listening, speaking and the words")
    top_k: int = Field(20, ge=0, description="words to choose from; 0 is all")
    top_p: float = Field(0.8, gt=0, le=1, description="probability to choose from")
    listen_scale: float = Field(1.0, gt=0, description="factor on the logit of listening")
    length_penalty: float = Field(1.1, gt=0, description="holds the end of a turn back")
    unit_tokens: int = Field(20, ge=2, description="chosen in a unit, its end included")
    unit_chars: int | None = Field(28, description="of text in a unit; null is no limit")
    num_forced_listens: int = Field(0, ge=0, description="units at the start that only listen")
    window: WindowConfig = WindowConfig()
    num_pictures: int = Field(1, ge=0, description="the newest so many of a second are seen")
    resampler: Literal["2d", "3d"] = Field(
        "2d", description="3d packs a second's pictures into the tokens of one"
    )
    max_slices: int = Field(1, ge=1, le=9, description="tiles a picture is cut into, beside it")
    cushion_ms: int = Field(
        100, ge=0, description="silence before a reply, against units that take unlike long"
    )
    interrupt_after_ms: int = Field(
        600, description="voice over its speech after which it must listen; shorter is assent"
    )
    early_close_ms: int = Field(
        0, ge=0, description="silence after speech that closes a unit early; 0 never does"
    )
    num_in_flight: int = Field(2, ge=1, description="units of a session under way at once")
    late_ms: int = Field(2000, description="a unit that waited so long to begin is left out")
    overdue_ms: int = Field(15_000, description="a unit unanswered so long: begin anew")
    admit_below_ms: int = Field(
        800, ge=0, description="p95 of a unit's time above which no session is added; 0 is none"
    )
    is_staggered: bool = Field(True, description="spread the sessions' units over the second")
