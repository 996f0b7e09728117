"""A server for the length of a command: started, awaited, and ended with all it started."""

import argparse
import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from omni.errors import ConfigError

START_TIMEOUT_S = 300


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """`--url` of a running server, or the `--runtime` of one started for the purpose."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", help="server to talk to, e.g. http://localhost:8080")
    where.add_argument(
        "--runtime",
        choices=("local", "ray"),
        default="local",
        help="else start one, on this runtime (default: local)",
    )


@contextlib.contextmanager
def server(args: argparse.Namespace, overrides: Sequence[str] = ()) -> Iterator[tuple[str, int]]:
    """The URL of the server that the arguments ask for, and its process id (0: not ours).

    Raises:
        ConfigError: the server we started did not become ready; says why.
    """
    if args.url:
        yield args.url, 0
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "omni", "serve", "--config", args.config]
    command += ["--runtime", args.runtime, "--port", str(port)]
    for override in (*args.overrides, *overrides):
        command += ["--set", override]
    with tempfile.NamedTemporaryFile("w+", suffix=".log") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            _await_ready(f"http://127.0.0.1:{port}", process, Path(log.name))
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def _await_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ConfigError(f"the server did not start:\n{log.read_text()[-2000:]}")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        time.sleep(0.2)
    raise ConfigError(f"the server was not ready within {START_TIMEOUT_S} s")
