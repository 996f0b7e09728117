"""All checks of a pack: which one reads which golden file, and what counts as failed."""

from collections.abc import Callable, Iterator
from math import nan
from pathlib import Path

from omni.errors import OmniError
from omni.models.minicpmo.parity import duplex, halfduplex, language, sight, sound, voice
from omni.models.minicpmo.parity.bench import Bench
from omni.models.minicpmo.parity.pack import EXACT, Item, Pack, Row

Check = Callable[[Bench, Item], None]

CHECKS: dict[str, Check] = {
    "slicing": sight.check_slicing,
    "slicing_pixels": sight.check_slicing_pixels,
    "vpm": sight.check_vpm,
    "resampler2d": sight.check_resampler2d,
    "resampler3d": sight.check_resampler3d,
    "mel_stream": sound.check_mel_stream,
    "audio_stream": sound.check_audio_stream,
    "apm_stream": sound.check_apm_stream,
    "apm_stream_halfduplex": sound.check_apm_halfduplex,
    "apm_offline": sound.check_apm_offline,
    "llm": language.check_llm,
    "kv_slide": language.check_kv_slide,
    "placeholders": language.check_placeholders,
    "offline_chat": language.check_offline_chat,
    "samplers": language.check_samplers,
    "tts_chunk": voice.check_tts_chunk,
    "tts_stream": voice.check_tts_stream,
    "token2wav": voice.check_token2wav,
}
_SESSIONS: dict[str, Check] = {
    "duplex_": duplex.check_duplex,
    "halfduplex_": halfduplex.check_halfduplex,
}


def check_of(name: str) -> Check | None:
    """The check of a golden file; sessions go by the first part of their name."""
    by_prefix = (check for prefix, check in _SESSIONS.items() if name.startswith(prefix))
    return CHECKS.get(name) or next(by_prefix, None)


def check_pack(folder: Path) -> Iterator[Item]:
    """Recompute every golden file of a pack, one after the other.

    Raises:
        AssetError, ConfigError: the pack's checkpoint cannot be loaded.
    """
    pack = Pack(folder)
    bench = Bench(pack)
    for name in pack.names:
        item = pack.item(name)
        check_item(bench, item)
        yield item


def check_item(bench: Bench, item: Item) -> None:
    """Recompute one golden file; a check that breaks is a failure of its file alone."""
    check = check_of(item.name)
    if check is None:
        item.rows.append(Row(item.name, nan, EXACT, "there is no check for this file"))
        return
    try:
        with item.part():
            check(bench, item)
    except (OmniError, ValueError, LookupError, RuntimeError) as error:
        item.rows.append(Row(item.name, nan, EXACT, f"{type(error).__name__}: {error}"))
    if not item.is_partial:
        for unseen in item.unseen():
            item.rows.append(Row(unseen, nan, EXACT, "nothing was compared with it"))
