"""A pipeline that started Ray leaves no process and no socket behind."""

import asyncio
import tempfile
from pathlib import Path

import psutil
import pytest

from actors.pipeline import RayPipeline
from omni.config import load

pytestmark = pytest.mark.ray


def sockets(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_socket()]


def is_alive(process: psutil.Process) -> bool:
    """Orphans that nobody reaps, as in a container, are dead."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_stop_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pipeline = RayPipeline(load("stub"))
    await pipeline.start()
    stages = [psutil.Process(health.pid) for health in await pipeline.health()]
    started = psutil.Process().children(recursive=True) + stages
    assert len(sockets(tmp_path)) == len(stages)
    await pipeline.stop()
    await asyncio.to_thread(psutil.wait_procs, started, 30)
    assert [process for process in started if is_alive(process)] == []
    assert sockets(tmp_path) == []
