"""A pipeline that starts Ray opens no port to the world, and leaves no process behind."""

import asyncio
import ipaddress
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


def listens_on(process: psutil.Process) -> set[str]:
    connections = process.net_connections("tcp")
    return {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}


def is_loopback(host: str) -> bool:
    address = ipaddress.ip_address(host)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


async def test_its_own_ray_listens_on_loopback_and_stop_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pipeline = RayPipeline(load("stub"))
    await pipeline.start()
    stages = [psutil.Process(health.pid) for health in await pipeline.health()]
    started = psutil.Process().children(recursive=True) + stages
    assert len(sockets(tmp_path)) == len(stages)
    hosts = set().union(*map(listens_on, started))
    assert hosts
    assert all(map(is_loopback, hosts)), hosts
    await pipeline.stop()
    while any(map(is_alive, started)):  # the test's timeout is the limit
        await asyncio.sleep(0.05)
    assert sockets(tmp_path) == []
