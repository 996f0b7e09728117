"""Settings: every key explains itself, every profile loads, and what does not fit is named."""

import re
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from omni import config, sources
from omni.errors import ConfigError

PROFILES = sorted(path.stem for path in config.PROFILES.glob("*.yaml"))
UNITS = ("_ms", "_s", "_hz", "_bytes", "_samples", "_tokens", "_words", "_pixels")


def keys(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting below `section` with its dotted name."""
    for name, field in section.model_fields.items():
        kinds = [field.annotation, *typing.get_args(field.annotation)]
        below = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        for kind in below:
            yield from keys(kind, f"{prefix}{name}.")
        if not below:
            yield f"{prefix}{name}", field


ALL_KEYS = dict(keys(config.OmniConfig))


@pytest.mark.parametrize("name", ALL_KEYS)
def test_every_key_says_what_it_means(name: str) -> None:
    leaf = name.rpartition(".")[2]
    explains_itself = leaf.endswith(UNITS) or leaf.startswith("num_")
    assert ALL_KEYS[name].description or explains_itself


def test_the_walk_reaches_the_deepest_keys() -> None:
    assert {"server.port", "brain.think.num_slots", "files.sha256"} <= set(ALL_KEYS)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_loads(profile: str) -> None:
    loaded = config.load(profile)
    assert loaded.brain.kind in ("embedded", "stub", "minicpm-o")


def test_the_default_profile_changes_nothing_but_the_files() -> None:
    assert config.load("embedded").model_copy(update={"files": {}}) == config.OmniConfig()


# Its publisher's own copy is not known to us; the digest is the identity all the same.
ONLY_PACKAGED = {"see/classifier.pth"}


@pytest.mark.parametrize("profile", PROFILES)
def test_every_model_file_has_its_publishers_copy_and_a_licence(profile: str) -> None:
    for name, file in config.load(profile).files.items():
        parts = [sources.parse(source) for source in file.sources]
        has_copy = any(part[0].kind in ("hf", "https") and len(part) == 1 for part in parts)
        assert has_copy or name in ONLY_PACKAGED, name
        for part in sum(parts, ()):
            if part.kind == "hf" and "SWHL/RapidOCR" not in part.package:  # its commit is not known
                assert re.search(r"@[0-9a-f]{40}/", part.package), f"{name} is not pinned"
        assert file.licence != "unknown", name
        assert "GPL" not in file.licence, name


def test_the_models_that_the_default_profile_names_are_in_its_files() -> None:
    loaded = config.load("embedded")
    assert loaded.brain.think.model in loaded.files
    assert f"kokoro/voices/{loaded.brain.speak.voice}.bin" in loaded.files
    assert sum(name.startswith("kokoro/voices/") for name in loaded.files) == 54


def test_a_larger_writer_replaces_only_the_writer() -> None:
    small, large = config.load("embedded"), config.load("embedded-large")
    changed = {name for name in small.files if small.files[name] != large.files[name]}
    assert changed == {"llm.gguf"}
    assert small.files.keys() == large.files.keys()


# ---- overriding and extending


def write(folder: Path, **profiles: str) -> Path:
    for name, text in profiles.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_the_nearest_setting_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = "server: {port: 1, host: base}\nturn: {min_speech_ms: 7}"
    write(tmp_path, base=base, top="extends: base\nserver: {port: 2}")
    monkeypatch.setattr(config, "PROFILES", tmp_path)
    assert config.load("base").server.port == 1
    assert config.load("top").server.port == 2
    overridden = config.load("top", ["server.port=3", "brain.hear.language=fr"])
    assert (overridden.server.port, overridden.server.host) == (3, "base")
    assert overridden.brain.hear.language == "fr"
    assert overridden.turn.min_speech_ms == 7


@pytest.mark.parametrize(
    ("text", "override", "named"),
    [
        ("server: {prot: 1}", None, "server.prot"),
        ("server: {port: high}", None, "server.port"),
        ("server: {port: 70000}", None, "server.port"),
        ("{}", "server.port=high", "server.port"),
        ("{}", "serverport", "serverport"),
        ("{}", "server.port.low=1", "server.port"),
        ("server: {port: 1}", "server.port.low=1", "server.port.low"),
        ("files: {a: {sources: [], size_bytes: 1, sha256: x}}", None, "files.a"),
        ("extends: nothing", None, "profile"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, text: str, override: str | None, named: str
) -> None:
    path = write(tmp_path, mine=text) / "mine.yaml"
    with pytest.raises(ConfigError) as caught:
        config.load(str(path), [override] if override else [])
    assert caught.value.param is not None
    assert caught.value.param.startswith(named)


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "extends: mine"])
def test_a_profile_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(config, "PROFILES", write(tmp_path, mine=text))
    with pytest.raises(ConfigError):
        config.load("mine")


def test_settings_cannot_be_changed_once_read() -> None:
    settings = config.load("stub")
    with pytest.raises(ValueError, match="frozen"):
        settings.server.port = 1  # type: ignore[misc]
