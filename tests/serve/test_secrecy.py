"""What a whole run writes to its log: no key, no secret, no word of a user."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

KEYS = {
    "server": "sk-aaa111-server",
    "file": "sk-bbb222-file",
    "core": "sk-ccc333-core",
    "wrong": "sk-ddd444-wrong",
}
WORDS = "xylophone-quixotic"
OMNI = str(Path(sys.executable).with_name("omni"))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def converse(url: str, key: str) -> None:
    """A session, in which nonsense is said, for whoever may have one."""
    protocols: Any = ["realtime", f"openai-insecure-api-key.{key}"]
    address = f"{url}/v1/realtime".replace("http", "ws")
    if key in (KEYS["core"], KEYS["wrong"]):
        with pytest.raises(InvalidStatus) as refusal:
            connect(address, subprotocols=protocols)
        assert refusal.value.response.status_code == 401
        assert key not in str(refusal.value.response.body)
        return
    with connect(address, subprotocols=protocols) as socket:
        socket.recv()
        socket.send(f'{{"{WORDS}')
        socket.send(json.dumps({"type": WORDS}))
        socket.recv()


def talk(url: str) -> list[str]:
    """Use the server in every way that a secret can travel; returns what was lent."""
    lent = []
    for key in KEYS.values():
        for path in ("/v1/models", "/v1/nothing", "/metrics", f"/v1/voices?api_key={key}"):
            httpx.get(url + path, headers=bearer(key))
        body: dict[str, Any] = {"model": "any", "messages": [{"role": "user", "content": WORDS}]}
        for change in ({}, {"messages": WORDS}, {"stream": True}):
            httpx.post(f"{url}/v1/chat/completions", headers=bearer(key), json={**body, **change})
        httpx.post(f"{url}/v1/realtime/calls", headers=bearer(key), content=f"v=0 {WORDS}")
        session = {"instructions": WORDS}
        answer = httpx.post(
            f"{url}/v1/realtime/client_secrets", headers=bearer(key), json={"session": session}
        )
        if answer.status_code == 200:
            lent.append(answer.json()["value"])
    for key in (*KEYS.values(), *lent):
        converse(url, key)
    return lent


@pytest.mark.parametrize("core", ["stub", "elsewhere"])
def test_no_secret_and_no_word_is_logged(tmp_path: Path, core: str) -> None:
    key_file = tmp_path / "keys"
    key_file.write_text(f"# ours\n\n{KEYS['file']}\n")
    command = [OMNI, "serve", "--config", "stub", "--runtime", "local", "--port", "0"]
    command += ["--set", f"server.api_key_file={key_file}"]
    if core == "elsewhere":  # where nobody answers: the start fails, and says why
        remote = "{type: openai, base_url: 'http://127.0.0.1:1/v1', model: any}"
        command += ["--set", f"brain.think.core={remote}"]
    environment = {**os.environ, "OMNI_API_KEY": KEYS["server"], "OPENAI_API_KEY": KEYS["core"]}
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=out, text=True, env=environment
        )
        assert process.stdout is not None
        told = process.stdout.readline()
        lent = talk(told.split()[-1]) if core == "stub" else []
        process.send_signal(signal.SIGINT)
        told += process.stdout.read()
        process.wait(240)
    written = told + log.read_text()
    assert len(lent) == (2 if core == "stub" else 0)
    assert core == "stub" or "cannot be reached" in written
    for secret in (*KEYS.values(), *lent, WORDS):
        assert secret not in written
    process.stdout.close()


def test_a_file_of_keys_that_holds_none_is_an_error(tmp_path: Path) -> None:
    empty = tmp_path / "keys"
    empty.write_text("# none\n")
    for file in (empty, tmp_path / "missing"):
        command = [OMNI, "serve", "--config", "stub", "--set", f"server.api_key_file={file}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert str(file) in done.stderr
