"""The import direction, read from the source: a lower layer never knows a higher one."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Layers of one row do not know each other, except in the first.
ROWS = (
    {
        "chat",
        "chunk",
        "units",
        "errands",
        "config_tools",
        "tool_events",
        "types",
        "events",
        "items",
        "errors",
        "config",
        "config_section",
        "config_duplex",
        "resources",
        "clock",
        "channel",
        "metrics",
        "sources",
        "fetch",
        "assets",
    },
    {"media"},
    {"dialog", "models"},
    {"stages"},
    {"pipeline"},
    {"protocol"},
    {"serve"},
    {"client"},
    {"evaluation"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
HEIGHT = {layer: height for height, row in enumerate(ROWS) for layer in row}
SOURCES = sorted([*ROOT.glob("omni/**/*.py"), *ROOT.glob("actors/**/*.py")])


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports, at its top or inside a function, with what it takes of ours."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import hides its layer"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def layer(module: str) -> str:
    """`omni.dialog.session` → dialog; `omni` alone → its first row."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] != "__init__" else "types"


def files_in(*folders: str) -> list[Path]:
    return [path for path in SOURCES for name in folders if ROOT / name in path.parents]


def ours(path: Path) -> str:
    return layer(".".join(path.relative_to(ROOT).with_suffix("").parts))


def test_the_source_was_found() -> None:
    assert {"actors", "omni"} == {path.relative_to(ROOT).parts[0] for path in SOURCES}
    assert len(SOURCES) > 20


@pytest.mark.parametrize("path", files_in("omni"), ids=lambda path: str(path.relative_to(ROOT)))
def test_lower_layers_do_not_know_higher_ones(path: Path) -> None:
    here = ours(path)
    assert here in HEIGHT, f"{here} has no place in the order: name it in ROWS"
    for module in imports(path):
        if module.split(".")[0] == "omni" and layer(module) != here:
            there = layer(module)
            lower = HEIGHT[there] < HEIGHT[here] or HEIGHT[there] == HEIGHT[here] == 0
            assert lower, f"{here} imports {module}"


@pytest.mark.parametrize(
    ("folders", "banned"),
    [
        (("omni",), ("ray", "actors")),
        (("omni/dialog", "omni/media"), ("torch", "transformers", "onnxruntime")),
        (("omni/models",), ("asyncio",)),
        (("omni/dialog",), ("asyncio", "threading", "socket", "time", "fastapi", "aiortc")),
    ],
)
def test_some_layers_never_touch_some_libraries(
    folders: tuple[str, ...], banned: tuple[str, ...]
) -> None:
    guilty = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files_in(*folders)
        for module in imports(path)
        if module.split(".")[0] in banned
    ]
    assert not guilty


def test_only_actors_imports_ray() -> None:
    assert any(
        module.split(".")[0] == "ray" for path in files_in("actors") for module in imports(path)
    )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_house_rules_that_a_machine_can_check(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= 40, f"{node.name} is {length} lines long"
            swallowed = node.args.kwarg is None or node.args.kwarg.arg.startswith("_")
            assert swallowed, f"{node.name} passes on **{node.args.kwarg.arg}"
