"""Where the stock clients are installed: once, as pinned, in a cache outside of the repository.

Not among our own test dependencies: their trees are large, and pin other versions than ours.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

HERE = Path(__file__).parent
MARK = ".complete"
INSTALL_S = 400


def node_modules() -> Path:
    """The folder with the JavaScript clients; skips the test where it cannot be had."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js with npm is not installed")
    return _cached(HERE / "node" / "package-lock.json", _install_node) / "node_modules"


def python() -> Path:
    """The interpreter that has the Python clients; skips the test where it cannot be had."""
    return _cached(HERE / "python" / "requirements.txt", _install_python) / "bin" / "python"


def _cached(pins: Path, install: Callable[[Path, Path], None]) -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "omni-tests"
    root.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(pins.read_bytes()).hexdigest()[:12]
    folder = root / f"{pins.stem}-{sys.version_info.major}.{sys.version_info.minor}-{digest}"
    with FileLock(f"{folder}.lock"):
        if not (folder / MARK).exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            install(pins, folder)
            (folder / MARK).touch()
    return folder


def _install_node(pins: Path, folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(pins.with_name(name), folder)
    _run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder))


def _install_python(pins: Path, folder: Path) -> None:
    _run(sys.executable, "-m", "venv", str(folder))
    pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet")
    _run(*pip, "--retries", "1", "--requirement", str(pins))


def _run(*command: str) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"the stock clients could not be installed within {INSTALL_S} s")
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        pytest.skip(f"the stock clients cannot be installed here: {' '.join(last)}")
