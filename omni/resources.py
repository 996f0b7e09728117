"""Finds the files without code that travel with the package: profiles and the web page."""

from pathlib import Path
from typing import Literal


def folder(name: Literal["configs", "web"]) -> Path:
    """The directory `name`: inside an installed package, else at the top of the repository."""
    package = Path(__file__).parent
    installed = package / name
    return installed if installed.is_dir() else package.parent / name
