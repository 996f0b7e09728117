"""`omni pull`: bring a profile's model files into the cache, with a bar for each."""

import argparse
from threading import Lock

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table

from omni import assets, config
from omni.stages import build


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("profile", nargs="?", help="the same as --config PROFILE")
    parser.add_argument("--list", action="store_true", help="show the files and fetch nothing")


def run(args: argparse.Namespace) -> int:
    settings = config.load(args.profile or args.config, args.overrides)
    console = Console()
    if args.list:
        console.print(_table(settings))
        return 0
    missing = [file for file in assets.status(settings) if file.state != "ready"]
    with Display(console) as display:
        assets.pull(settings, display.report)
    if missing:
        console.print("Preparing the models for this machine…")
    build.prepare(settings)
    if not settings.files:
        console.print("This profile needs no model files.")
        return 0
    new = f", {len(missing)} of them new" if missing else ""
    console.print(f"Model files ready: {len(settings.files)}{new}, in {settings.cache_dir}")
    return 0


class Display:
    """A bar for each file that is under way, and a line for each that is done.

    While packages arrive a bar counts their packed bytes, so it may jump when they are unpacked;
    it never goes back.
    """

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TextColumn("{task.fields[phase]}"),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._done_bytes: dict[str, int] = {}
        self._lock = Lock()

    def __enter__(self) -> "Display":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def report(self, progress: assets.Progress) -> None:
        name = progress.name
        with self._lock:
            if progress.phase in ("ready", "failed"):
                self._finish(progress)
                return
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=progress.size_bytes, phase="")
            self._done_bytes[name] = max(progress.done_bytes, self._done_bytes.get(name, 0))
            self._bars.update(
                self._tasks[name], completed=self._done_bytes[name], phase=progress.phase
            )

    def _finish(self, progress: assets.Progress) -> None:
        if progress.name in self._tasks:
            self._bars.remove_task(self._tasks.pop(progress.name))
        size = f", {progress.size_bytes:,} bytes" if progress.phase == "ready" else ""
        self._bars.print(f"{progress.name}: {progress.phase}{size}")


def _table(settings: config.OmniConfig) -> Table:
    table = Table("file", "MB", "licence", "state")
    for file in assets.status(settings):
        table.add_row(file.name, f"{file.size_bytes / 1e6:.1f}", file.licence, file.state)
    return table
