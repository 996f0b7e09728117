"""`omni doctor`: what this machine has, what it lacks, and what to do about it.

A check never raises: what it cannot find out is itself a finding.
"""

import argparse
import importlib
import importlib.metadata
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

import psutil
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from omni import assets, config
from omni.errors import OmniError, StageError
from omni.models.completions import Completions
from omni.stages.build import endpoint_of

MIN_PYTHON = (3, 11)
MIN_MEMORY_GIB = 4
MIN_CORES = 2
RAY_TIMEOUT_S = 90
RAY_TRIAL = (
    "import ray; ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False); "
    "assert ray.get(ray.remote(lambda: 42).remote()) == 42; ray.shutdown()"
)
_MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "fail": "[red]fail[/]"}


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """One line of the report; `advice` is empty where nothing need be done."""

    check: str
    state: Literal["ok", "note", "fail"]
    detail: str
    advice: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    settings = config.load(args.config, args.overrides)
    findings = [_examine(name, check, settings) for name, check in CHECKS.items()]
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print(findings)
    return 1 if any(finding.state == "fail" for finding in findings) else 0


def _examine(name: str, check: "Check", settings: config.OmniConfig) -> Finding:
    try:
        return check(settings)
    except Exception as error:
        return Finding(name, "fail", f"{type(error).__name__}: {error}", "report this as a bug")


def _print(findings: list[Finding]) -> None:
    table = Table("check", "state", "found", "what to do")
    for finding in findings:
        table.add_row(
            finding.check, _MARKS[finding.state], escape(finding.detail), escape(finding.advice)
        )
    Console().print(table)


def check_python(_settings: config.OmniConfig) -> Finding:
    found = sys.version.split()[0]
    if sys.version_info < MIN_PYTHON:
        return Finding("python", "fail", found, "install Python 3.11 or newer")
    return Finding("python", "ok", found)


def check_packages(_settings: config.OmniConfig) -> Finding:
    pins = [
        match.groups()
        for pin in importlib.metadata.requires("omni") or []
        if "extra ==" not in pin and (match := re.match(r"([\w.-]+)==([\w.]+)", pin))
    ]
    wrong = [
        f"{name} {installed or 'missing'}, not {pinned}"
        for name, pinned in pins
        if (installed := _installed_version(name)) != pinned
    ]
    if wrong:
        return Finding("packages", "fail", "; ".join(wrong), "run `make setup`")
    return Finding("packages", "ok", f"{len(pins)} at their pinned versions")


def check_cores(_settings: config.OmniConfig) -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if (cores or 1) < MIN_CORES:
        return Finding("cores", "note", str(cores), "replies will be slow: two cores are better")
    return Finding("cores", "ok", str(cores))


def check_memory(_settings: config.OmniConfig) -> Finding:
    memory = psutil.virtual_memory()
    total_gib, free_gib = memory.total / 2**30, memory.available / 2**30
    detail = f"{total_gib:.1f} GiB, {free_gib:.1f} GiB free"
    if free_gib < MIN_MEMORY_GIB:
        return Finding("memory", "note", detail, f"free some: the models want {MIN_MEMORY_GIB} GiB")
    return Finding("memory", "ok", detail)


def check_gpu(_settings: config.OmniConfig) -> Finding:
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        return Finding("gpu", "note", "none", "needed only by the minicpm-o brain")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Finding("gpu", "ok", ", ".join(names))


def check_cache(settings: config.OmniConfig) -> Finding:
    root = settings.cache_dir.expanduser()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        return Finding("cache", "fail", f"{root}: {error.strerror}", "set cache_dir elsewhere")
    return Finding("cache", "ok", f"{root}, {shutil.disk_usage(root).free / 2**30:.0f} GiB free")


def check_files(settings: config.OmniConfig) -> Finding:
    files = assets.status(settings)
    wanting = [f"{file.name} is {file.state}" for file in files if file.state != "ready"]
    if wanting:
        more = f" and {len(wanting) - 3} more" if len(wanting) > 3 else ""
        detail = "; ".join(wanting[:3]) + more
        return Finding("model files", "fail", detail, "run `omni pull` with this profile")
    return Finding("model files", "ok", f"{len(files)} present and verified")


def check_checkpoint(settings: config.OmniConfig) -> Finding:
    if settings.brain.kind != "minicpm-o":
        return Finding("checkpoint", "ok", "not used by this profile")
    build = importlib.import_module("omni.stages.minicpmo.build")
    try:
        needed_gib, free_gib, where = build.survey(settings)
    except OmniError as error:
        return Finding("checkpoint", "fail", error.message, "see docs/minicpm-o.md")
    detail = f"{needed_gib:.1f} GiB of weights, {free_gib:.1f} GiB free on {where}"
    if needed_gib > free_gib:
        advice = "bfloat16 takes half of float32: --set brain.duplex.dtype=bfloat16"
        return Finding("checkpoint", "fail", detail, advice)
    return Finding("checkpoint", "ok", detail)


def check_port(settings: config.OmniConfig) -> Finding:
    address = (settings.server.host, settings.server.port)
    detail = f"{address[0]}:{address[1]}"
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            advice = "stop what listens there, or choose another with --set server.port=N"
            return Finding("port", "fail", f"{detail}: {error.strerror}", advice)
    return Finding("port", "ok", f"{detail} is free")


def check_core(settings: config.OmniConfig) -> Finding:
    remote = settings.brain.think.core
    if not isinstance(remote, config.RemoteCoreConfig):
        return Finding("core", "ok", "on this machine")
    server = Completions(endpoint_of(remote))
    try:
        models = server.models()
    except StageError as error:
        advice = f"start it, or see brain.think.core; its key is read from {remote.key_variable}"
        return Finding("core", "fail", error.message, advice)
    if models and remote.model not in models:
        known = ", ".join(models[:5])
        return Finding("core", "note", f"it names {known}, not {remote.model}", "see its models")
    return Finding("core", "ok", f"{remote.model} at {server.address}")


def check_ray(settings: config.OmniConfig) -> Finding:
    if settings.runtime.kind != "ray":
        return Finding("ray", "ok", "not used by this profile")
    command = [sys.executable, "-c", RAY_TRIAL]
    advice = "try `--runtime local`; see `ray start --head` for the cause"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=RAY_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding("ray", "fail", f"did not start in {RAY_TIMEOUT_S} s", advice)
    if done.returncode:
        return Finding("ray", "fail", (done.stderr.strip() or "no reason given")[-300:], advice)
    return Finding("ray", "ok", "started, ran a task and stopped")


def check_audio(_settings: config.OmniConfig) -> Finding:
    advice = "only `omni chat` needs it: install PortAudio and `pip install omni[chat]`"
    try:
        devices = importlib.import_module("sounddevice").query_devices()
    except (ImportError, OSError) as error:
        return Finding("audio", "note", str(error), advice)
    inputs = sum(device["max_input_channels"] > 0 for device in devices)
    outputs = sum(device["max_output_channels"] > 0 for device in devices)
    detail = f"{inputs} microphones, {outputs} speakers"
    if not (inputs and outputs):
        return Finding("audio", "note", detail, "`omni chat` takes text instead")
    return Finding("audio", "ok", detail)


def check_browser(_settings: config.OmniConfig) -> Finding:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        return Finding("browser", "note", "no Chromium", "only the browser tests need it")
    return Finding("browser", "ok", found)


def _installed_version(name: str) -> str | None:
    try:
        # A build's local label (2.13.0+cpu) is not part of the pin.
        return importlib.metadata.version(name).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


Check = Callable[[config.OmniConfig], Finding]

CHECKS: dict[str, Check] = {
    "python": check_python,
    "packages": check_packages,
    "cores": check_cores,
    "memory": check_memory,
    "gpu": check_gpu,
    "cache": check_cache,
    "model files": check_files,
    "checkpoint": check_checkpoint,
    "core": check_core,
    "port": check_port,
    "ray": check_ray,
    "audio": check_audio,
    "browser": check_browser,
}
