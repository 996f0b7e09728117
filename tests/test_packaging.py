"""What is imported is declared, what is declared is pinned, and the wheel carries everything."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from omni import resources

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DEPENDENCIES = PROJECT["project"]["dependencies"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
OPTIONAL = [pin for name, pins in EXTRAS.items() if name != "test" for pin in pins]
TEST_DEPENDENCIES = EXTRAS["test"]

# Declared though we do not import them ourselves.
INDIRECT = {
    "accelerate": "transformers' GGUF loader",
    "gguf": "transformers' GGUF loader",
    "python-multipart": "FastAPI's forms",
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(requirements: list[str]) -> set[str]:
    return {normal(requirement.partition("==")[0]) for requirement in requirements}


def imported(*folders: str) -> set[str]:
    """Distributions whose modules are imported anywhere in these folders."""
    distributions = importlib.metadata.packages_distributions()
    found: set[str] = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names: list[str] = []
                if isinstance(node, ast.Import):
                    names = [name.name for name in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names = [node.module]
                for name in names:
                    top = name.partition(".")[0]
                    if top not in sys.stdlib_module_names and top not in ("omni", "actors"):
                        found.add(normal(distributions.get(top, [top])[0]))
    return found


@pytest.mark.parametrize("requirement", DEPENDENCIES + OPTIONAL + TEST_DEPENDENCIES)
def test_every_requirement_is_pinned_exactly(requirement: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", requirement)


def test_every_import_of_the_product_is_declared() -> None:
    assert imported("omni", "actors") - pinned(DEPENDENCIES) <= pinned(OPTIONAL)


def test_every_declared_dependency_is_used() -> None:
    assert pinned(DEPENDENCIES) - imported("omni", "actors") <= INDIRECT.keys()


def test_no_dependency_is_gpl() -> None:
    for requirement in DEPENDENCIES:
        metadata = importlib.metadata.metadata(requirement.partition("==")[0])
        stated = " ".join(
            [
                metadata.get("License-Expression") or (metadata.get("License") or "")[:80],
                *metadata.get_all("Classifier", []),
            ]
        )
        assert not re.search(r"(?<!L)(?<!Lesser )GPL", stated), requirement


def test_licences_are_listed() -> None:
    listed = (ROOT / "docs" / "licences.md").read_text()
    for name in sorted(pinned(DEPENDENCIES)):
        assert f"| {name} |" in listed.lower(), f"docs/licences.md does not list {name}"


def test_every_folder_of_code_is_a_named_package() -> None:
    named = set(PROJECT["tool"]["setuptools"]["packages"])
    mapped = PROJECT["tool"]["setuptools"]["package-dir"]
    code = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for folder in ("omni", "actors")
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert named - set(mapped) == code
    for package, folder in mapped.items():
        assert package in named
        assert (ROOT / folder).is_dir()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel, built from a copy so that no other file leaks in."""
    root = tmp_path_factory.mktemp("wheel")
    source = root / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("omni", "actors", "configs", "web"):
        shutil.copytree(ROOT / folder, source / folder, ignore=ignore)
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, source)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(root)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True)
    (wheel,) = root.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(root / "installed")
    return root / "installed"


def test_the_wheel_carries_code_profiles_and_page(installed: Path) -> None:
    carried = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    ours = {
        str(Path(*("omni", folder) if folder in ("configs", "web") else (folder,)) / inside)
        for folder in ("omni", "actors", "configs", "web")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
        for inside in [path.relative_to(ROOT / folder)]
    }
    assert {name for name in carried if ".dist-info/" not in name} == ours


def test_the_installed_package_finds_its_profiles_and_page(installed: Path) -> None:
    program = (
        "from omni import config, resources; "
        "assert config.load('embedded').files; "
        "print(resources.folder('configs')); print(resources.folder('web'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=installed,
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(installed / "omni/configs"), str(installed / "omni/web")]


def test_the_repository_finds_its_profiles_and_page() -> None:
    assert resources.folder("configs") == ROOT / "configs"
    assert (resources.folder("web") / "index.html").is_file()
