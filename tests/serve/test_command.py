"""`omni serve` as a process: it gets ready, says where, and ends quietly when told to."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

OMNI = [str(Path(sys.executable).with_name("omni")), "serve", "--config", "stub"]


@pytest.mark.parametrize("runtime", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_from_ready_to_a_quiet_end(runtime: str) -> None:
    command = [*OMNI, "--runtime", runtime, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = next(line for line in process.stdout if line.startswith("ready in "))
        url = ready.split()[-1].replace("http", "ws", 1)
        with connect(f"{url}/v1/realtime") as socket:
            socket.recv()
            process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv()
        process.wait(240)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    assert process.returncode in (0, -signal.SIGTERM)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--host", "0.0.0.0"], "OMNI_API_KEY"),
        (["--set", "server.prot=1"], "server.prot"),
        (["--config", "nothing"], "no profile"),
        (["--config", "minicpm-o"], "set brain.checkpoint"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(arguments: list[str], complaint: str) -> None:
    done = subprocess.run([*OMNI, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_missing_model_files_are_named(tmp_path: Path) -> None:
    command = [*OMNI, "--config", "embedded", "--set", f"cache_dir={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "omni pull" in done.stderr
