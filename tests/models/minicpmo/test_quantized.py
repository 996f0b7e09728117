"""Eight and four bits change little, and only the LLM's linear layers.

torchao is an extra that transformers imports wherever it is installed, so it is installed beside
this environment, for one program.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.minicpmo.conftest import PACK

ROOT = Path(__file__).parents[3]
PROGRAM = """
import json, sys
from pathlib import Path
import torch
from omni.models.minicpmo.checkpoint import load
from omni.models.minicpmo.quantized import load_quantized
folder, cpu = Path(sys.argv[1]), torch.device("cpu")
def state(model):
    ids = torch.arange(40)[None]
    with torch.inference_mode():
        return model.llm(inputs_embeds=model.llm.model.embed_tokens(ids)).logits[0]
exact = load(folder, cpu, torch.float32)
for precision in ("int8", "int4"):
    model = load_quantized(folder, cpu, torch.float32, precision)
    linear = model.llm.model.layers[0].mlp.down_proj.weight
    print(json.dumps({
        "precision": precision,
        "error": float((state(model) - state(exact)).norm() / state(exact).norm()),
        "is_quantized": type(linear).__module__.startswith("torchao"),
        "is_head_kept": bool(torch.equal(model.llm.lm_head.weight, exact.llm.lm_head.weight)),
        "is_speech_kept": type(model.tts.head_code[0].weight) is torch.nn.Parameter,
    }))
"""


@pytest.fixture(scope="module")
def torchao(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds it."""
    pins = [line for line in (ROOT / "pyproject.toml").read_text().split('"') if "torchao=" in line]
    folder = tmp_path_factory.mktemp("torchao")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    if subprocess.run([*command, *pins], check=False, timeout=120).returncode:
        pytest.skip("torchao cannot be fetched")
    return folder


def test_what_is_quantized_and_how_much_that_changes(torchao: Path) -> None:
    path = os.pathsep.join((str(ROOT), str(torchao)))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(PACK)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    int8, int4 = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert 0 < int8["error"] < 0.03
    assert int8["error"] < int4["error"] < 0.3
    for seen in (int8, int4):
        assert seen["is_quantized"]
        assert seen["is_head_kept"]
        assert seen["is_speech_kept"]
