"""The README's tree is the tree on disk, and its links lead somewhere."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
TOLD_FILE_BY_FILE = ("configs", "omni", "actors", "web", "examples", "docs")


def told() -> dict[str, str]:
    """Paths in the README's tree, folders with a slash at the end, and what is said of each."""
    block = re.search(r"<!-- tree -->\n```text\n(.*?)\n```", README, re.DOTALL)
    assert block
    entries, folders = {}, []
    for line in block[1].splitlines():
        indent, name, purpose = re.fullmatch(r"( *)(\S+) *(.*)", line).groups()
        folders = folders[: len(indent) // 2]
        entries["".join(folders) + name] = purpose
        if name.endswith("/"):
            folders.append(name)
    return entries


def on_disk() -> set[str]:
    """Files that git knows or would; those that only mark a package aside."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = (path for path in listed.stdout.splitlines() if (ROOT / path).is_file())
    return {path for path in paths if not path.endswith("__init__.py")}


def test_the_tree_is_the_one_on_disk():
    shown = {path for path in told() if path.startswith(TOLD_FILE_BY_FILE)}
    files = {path for path in on_disk() if path.startswith(TOLD_FILE_BY_FILE)}
    assert files - shown == set(), "not in the README"
    assert {path for path in shown if not path.endswith("/")} - files == set(), "no such file"


def test_everything_in_the_tree_exists_and_is_explained():
    for path, purpose in told().items():
        assert (ROOT / path).exists(), path
        assert purpose, path


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()
