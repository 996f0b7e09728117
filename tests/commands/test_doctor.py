"""The doctor: finds what is wrong, says what to do, and tells a script by its exit status."""

import json
import socket
from pathlib import Path

import pytest

from omni import cli, config
from omni.commands import doctor
from tests.registry import profile

LOCAL = ["--config", "stub", "--set", "runtime.kind=local", "--set", "server.port=0"]


def examine(name: str, settings: config.OmniConfig) -> doctor.Finding:
    return doctor.CHECKS[name](settings)


def test_a_sound_machine_passes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["doctor", "--json", *LOCAL, "--set", f"cache_dir={tmp_path}"]
    assert cli.main(arguments) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {finding["check"] for finding in findings} == set(doctor.CHECKS)
    assert all(finding["advice"] for finding in findings if finding["state"] != "ok")


def test_a_missing_file_fails_and_says_what_to_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--set", "runtime.kind=local", "--set", f"cache_dir={tmp_path}"]
    assert cli.main(["doctor", *arguments]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "fail" in said
    assert "omni pull" in said


def test_model_files_are_counted(tmp_path: Path) -> None:
    files = {f"m{number}": (bytes([number]), ["file:/nowhere"]) for number in range(5)}
    finding = examine("model files", profile(tmp_path, files))
    assert finding.state == "fail"
    assert "m0 is missing" in finding.detail
    assert "2 more" in finding.detail


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = config.load("stub", [f"server.port={port}"])
        finding = examine("port", settings)
    assert finding.state == "fail"
    assert str(port) in finding.detail
    assert "server.port" in finding.advice
    assert examine("port", settings).state == "ok"


PACK = Path(__file__).parents[1] / "golden" / "minicpmo45-tiny"


def test_a_checkpoint_is_weighed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert examine("checkpoint", config.load("stub")).detail == "not used by this profile"
    good = config.load("minicpm-o", [f"brain.checkpoint={PACK}"])
    assert examine("checkpoint", good).state == "ok"
    monkeypatch.setattr("omni.stages.minicpmo.build.free_bytes", lambda _: 1 << 20)
    heavy = examine("checkpoint", good)
    assert heavy.state == "fail"
    assert "bfloat16" in heavy.advice
    for overrides, said in (
        ([], "no checkpoint is set"),
        ([f"brain.checkpoint={tmp_path}"], "has no config.json"),
        ([f"brain.checkpoint={PACK}", "brain.duplex.device=what"], "is no device"),
    ):
        finding = examine("checkpoint", config.load("minicpm-o", overrides))
        assert finding.state == "fail"
        assert said in finding.detail


def test_a_cache_that_cannot_be_written_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    finding = examine("cache", config.OmniConfig(cache_dir=tmp_path / "file" / "cache"))
    assert finding.state == "fail"


def test_a_package_at_another_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pins = ["numpy==0.0.1", "no-such-package==1.0", 'pytest==0; extra == "test"']
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _name: pins)
    finding = examine("packages", config.OmniConfig())
    assert finding.state == "fail"
    assert "numpy" in finding.detail
    assert "no-such-package missing" in finding.detail
    assert "pytest" not in finding.detail


def test_little_memory_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.psutil.virtual_memory()
    small = real._replace(total=2 << 30, available=1 << 30)
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: small)
    assert examine("memory", config.OmniConfig()).state == "note"


def test_a_check_that_breaks_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_settings: config.OmniConfig) -> doctor.Finding:
        raise RuntimeError("[no] such thing")

    monkeypatch.setattr(doctor, "CHECKS", {"broken": broken})
    assert cli.main(["doctor", *LOCAL]) == 1
    assert "[no] such thing" in " ".join(capsys.readouterr().out.split())


@pytest.mark.ray
def test_ray_starts() -> None:
    assert examine("ray", config.OmniConfig()).state == "ok"


def test_a_model_server_that_is_not_there_is_told() -> None:
    settings = config.load("remote-llm", ["brain.think.core.base_url=http://127.0.0.1:1/v1"])
    finding = examine("core", settings)
    assert finding.state == "fail"
    assert "127.0.0.1:1" in finding.detail
    assert "OPENAI_API_KEY" in finding.advice
