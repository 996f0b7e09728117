"""Every golden file is recomputed, and the comparison itself finds what is wrong."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from omni import cli
from omni.models.minicpmo.parity.bench import Bench
from omni.models.minicpmo.parity.pack import Pack
from omni.models.minicpmo.parity.run import check_item
from tests.models.minicpmo.conftest import PACK


@pytest.mark.parametrize("name", Pack(PACK).names)
def test_golden_file_is_recomputed(bench: Bench, name: str) -> None:
    item = bench.pack.item(name)
    check_item(bench, item)
    assert item.rows
    assert [(row.name, row.error, row.detail) for row in item.rows if not row.is_good] == []


@pytest.fixture
def small_pack(tmp_path: Path) -> Path:
    """A copy of the pack with two of its golden files."""
    for entry in PACK.iterdir():
        if entry.name != "golden":
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "golden").mkdir()
    for name in ("resampler2d.npz", "slicing.json"):
        shutil.copy(PACK / "golden" / name, tmp_path / "golden")
    return tmp_path


def change(pack: Path, **arrays: np.ndarray) -> None:
    path = pack / "golden" / "resampler2d.npz"
    np.savez(path, **(dict(np.load(path)) | arrays))


def test_right_pack_passes(small_pack: Path) -> None:
    assert cli.main(["parity", str(small_pack)]) == 0


def test_wrong_number_fails_and_is_named(
    small_pack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = np.load(small_pack / "golden" / "resampler2d.npz")["pos_embed_rows"].copy()
    rows[2, 7] += 2e-4
    change(small_pack, pos_embed_rows=rows)
    assert cli.main(["parity", str(small_pack)]) == 1
    assert "pos_embed_rows" in capsys.readouterr().out


def test_nan_fails(small_pack: Path) -> None:
    right = np.load(small_pack / "golden" / "resampler2d.npz")["pos_embed_rows"]
    change(small_pack, pos_embed_rows=np.where(right > 0, np.nan, right))
    assert cli.main(["parity", str(small_pack)]) == 1


def test_wrong_value_fails(small_pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = small_pack / "golden" / "slicing.json"
    tree = json.loads(path.read_text())
    tree["cases"][3]["n_images"] += 1
    path.write_text(json.dumps(tree))
    assert cli.main(["parity", str(small_pack)]) == 1
    assert "cases[3].n_images" in capsys.readouterr().out


def test_array_that_nothing_is_compared_with_fails(small_pack: Path) -> None:
    change(small_pack, mystery=np.zeros(3, np.float32))
    assert cli.main(["parity", str(small_pack)]) == 1


def test_file_without_a_check_fails(small_pack: Path) -> None:
    (small_pack / "golden" / "mystery.json").write_text("{}")
    assert cli.main(["parity", str(small_pack)]) == 1


def test_absent_results_and_inputs_are_no_failure(small_pack: Path) -> None:
    path = small_pack / "golden" / "resampler2d.npz"
    arrays = dict(np.load(path))
    np.savez(path, **{k: v for k, v in arrays.items() if "out" not in k and k != "grow.x"})
    assert cli.main(["parity", str(small_pack)]) == 0


def test_other_strides_are_read_from_the_name(small_pack: Path) -> None:
    path = small_pack / "golden" / "resampler2d.npz"
    arrays = dict(np.load(path))
    rows = arrays.pop("pos_embed_rows")
    np.savez(path, **arrays, **{"pos_embed_rows@1::3": rows[:, ::3]})
    assert cli.main(["parity", str(small_pack)]) == 0


def test_folder_without_golden_files_is_an_error(tmp_path: Path) -> None:
    assert cli.main(["parity", str(tmp_path)]) == 2
