"""docs/compatibility.md names tests that exist, and the versions that are tested."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PAGE = (ROOT / "docs" / "compatibility.md").read_text()


def table() -> dict[str, list[str]]:
    """The rows of the page's first table by their first cell."""
    lines = re.findall(r"^\| (.*) \|$", PAGE.split("\n## ")[0], re.MULTILINE)
    rows = [line.split(" | ") for line in lines]
    return {name: cells for name, *cells in rows[1:]}


ROWS = table()
NOT_TESTS = ("package", "version", "tests", "transport")
CELLS = [
    (file, cell)
    for name, cells in ROWS.items()
    if name not in NOT_TESTS
    for file, cell in zip(ROWS["tests"], cells, strict=True)
    if cell != "–"
]


def functions_of(file: str) -> set[str]:
    tree = ast.parse((HERE / file).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, functions)}


def test_every_test_of_openai_live_is_named() -> None:
    named = set(re.findall(r"\btest_\w+_talks_\w+", PAGE))
    assert named == {name for name in functions_of("test_live.py") if name.startswith("test_")}


@pytest.mark.parametrize(("file", "test"), sorted(set(CELLS)))
def test_every_cell_names_a_test(file: str, test: str) -> None:
    assert test in functions_of(file)


@pytest.mark.parametrize("file", sorted(set(ROWS["tests"])))
def test_every_test_of_a_client_is_in_the_table(file: str) -> None:
    assert {t for t in functions_of(file) if t.startswith("test_")} == {
        t for f, t in CELLS if f == file
    }


def test_the_versions_are_those_that_are_pinned() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    node = json.loads((HERE / "node" / "package.json").read_text())["dependencies"]
    pins = dict(
        line.split("==")
        for line in [
            *pyproject["project"]["optional-dependencies"]["test"],
            *(HERE / "python" / "requirements.txt").read_text().splitlines(),
            *(f"{name}=={version}" for name, version in node.items()),
        ]
        if "==" in line
    )
    told = zip(ROWS["package"], ROWS["version"], strict=True)
    assert all(pins[package] == version for package, version in told)


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / "docs" / target).exists()
