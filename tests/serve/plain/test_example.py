"""The example that users copy does what it says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pictures import noise
from tests.serve.conftest import Live

PROGRAM = Path(__file__).parents[3] / "examples" / "chat_completions.py"


@pytest.mark.parametrize("has_picture", [False, True])
def test_chat_completions(live: Live, tmp_path: Path, has_picture: bool) -> None:
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(noise(64, 64))
    sound = tmp_path / "answer.mp3"
    arguments = ["penguins", str(sound), *([str(picture)] if has_picture else [])]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        env={**os.environ, "OMNI_URL": f"{live.url}/v1"},
        capture_output=True,
        text=True,
        check=True,
    )
    answer, heard = done.stdout.splitlines()
    assert answer.startswith("You said penguins")
    assert ("[The picture:" in answer) is has_picture
    assert heard.endswith(" tenths")
    assert sound.stat().st_size > 1000
