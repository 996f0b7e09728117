"""A package registry in a folder: wheels that pip finds, and an `npm` that packs from there."""

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from omni.config import OmniConfig

NPM = """#!/bin/sh
# npm pack …options… PACKAGE, as omni.fetch calls it.
while [ $# -gt 1 ]; do
  [ "$1" = --pack-destination ] && dest=$2
  shift
done
echo "$1" >> {root}/npm.log
[ -e {root}/npm.hang ] && {{ echo half > "$dest/half.tgz"; exec sleep 20; }}
[ -e {root}/npm/"$1".tgz ] || {{ echo "npm error code E404" >&2; exit 1; }}
cp {root}/npm/"$1".tgz "$dest/"
"""

METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


class Registry:
    """Stands in for the package index and for npm; nothing of it reaches a network."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        (root / "wheels").mkdir(parents=True)
        (root / "npm").mkdir()
        (root / "bin").mkdir()
        npm = root / "bin" / "npm"
        npm.write_text(NPM.format(root=root))
        npm.chmod(0o755)
        monkeypatch.setenv("PATH", f"{root / 'bin'}:/usr/bin:/bin")
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(root / "wheels"))

    def wheel(self, name: str, version: str, files: Mapping[str, bytes]) -> Path:
        """Publish a wheel with these members."""
        stem = f"{name.replace('-', '_')}-{version}"
        info = f"{stem}.dist-info"
        described = {
            **files,
            f"{info}/METADATA": METADATA.format(name=name, version=version).encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(f"{member},,\n" for member in described) + f"{info}/RECORD,,\n"
        path = self.root / "wheels" / f"{stem}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in described.items():
                archive.writestr(member, content)
            archive.writestr(f"{info}/RECORD", record)
        return path

    def tarball(self, package: str, files: Mapping[str, bytes]) -> Path:
        """Publish an npm package `NAME@VERSION`."""
        path = self.root / "npm" / f"{package}.tgz"
        with tarfile.open(path, "w:gz") as archive:
            for member, content in files.items():
                entry = tarfile.TarInfo(member)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        return path

    @property
    def num_npm_calls(self) -> int:
        log = self.root / "npm.log"
        return len(log.read_text().splitlines()) if log.exists() else 0


def profile(cache: Path, files: Mapping[str, tuple[bytes, list[str]]]) -> OmniConfig:
    """Settings with these model files: name → (right content, sources)."""
    return OmniConfig.model_validate({"cache_dir": cache, "files": describe(files)})


def describe(files: Mapping[str, tuple[bytes, list[str]]]) -> dict[str, object]:
    """The `files` table of a profile."""
    return {
        name: {
            "sources": sources,
            "size_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        for name, (content, sources) in files.items()
    }
