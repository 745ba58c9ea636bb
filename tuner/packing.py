"""A folder of code as one archive, a bundle: the same files always give the same bytes, whose SHA-256 is the bundle's name.

A gzipped tar of regular files: sorted, without times and owners, of modes only whether the owner may execute. What a bundle may hold is
said here for both sides: who packs is told in one sentence which path is in the way, and workers unpack no more than this
(`workers.bundles`). Links and special files are refused rather than followed. Empty folders are left out. Weakness: another version of
zlib may compress to other bytes, so the same folder packed on two machines can be two bundles.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from tuner.errors import InvalidValue

MAX_PACKED = 50_000_000
MAX_UNPACKED = 200_000_000
MAX_FILES = 10_000
IGNORE_FILES = (".tunerignore", ".gitignore")
"""Patterns of what is left out; of these the first that lies at the top of the folder is read."""
LEFT_OUT = frozenset({".git", ".hg", ".svn", ".venv", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", "tuner-data"})
"""Names never packed: histories, environments, caches, and the data folder of `tuner up`, in which keys lie."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What was packed; `size` is that of the archive, in bytes, `files` are relative paths."""

    sha256: str
    size: int
    files: tuple[str, ...]


class HashingWriter:
    """The least of a binary stream that writing an archive needs: hashes and counts what passes."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        self.size += len(data)
        return self._target.write(data)

    def flush(self) -> None:
        self._target.flush()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def pack(folder: str | Path, target: BinaryIO) -> Packed:
    """Write the folder to `target`. InvalidValue names the path that no bundle can hold, or what makes it too large."""
    root = Path(folder).resolve()
    if not root.is_dir():
        raise InvalidValue(f"context: {folder} is no folder")
    found = sorted(_walk(root))
    _check_size(found)
    stream = HashingWriter(target)
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=stream, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path, size, executable in found:
            member = tarfile.TarInfo(path)
            member.size = size
            member.mode = 0o755 if executable else 0o644
            try:
                with (root / path).open("rb") as content:
                    tar.addfile(member, content)
            except OSError as error:
                raise InvalidValue(f"context: {path} cannot be read: {error.strerror or error}") from error
            if stream.size > MAX_PACKED:
                break
    if stream.size > MAX_PACKED:
        raise InvalidValue(f"context: packed it is larger than {_megabytes(MAX_PACKED)}; {_largest(found)}")
    return Packed(sha256=stream.sha256, size=stream.size, files=tuple(path for path, _, _ in found))


def is_safe(path: str) -> bool:
    """Whether a path from an archive stays inside the folder it is unpacked in, on any system, and can be written in UTF-8."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in path)


def _walk(root: Path) -> Iterator[tuple[str, int, bool]]:
    """Path, size and whether it is executable, of each file that is not left out."""
    is_ignored = _read_ignore_file(root)
    count = Counter[str]()
    pending = [""]
    while pending:
        prefix = pending.pop()
        try:
            entries = [(entry.name, entry.stat(follow_symlinks=False)) for entry in os.scandir(root / prefix)]
        except OSError as error:
            raise InvalidValue(f"context: {prefix or root} cannot be read: {error.strerror}") from error
        for name, status in entries:
            path = prefix + name
            is_folder = stat.S_ISDIR(status.st_mode)
            if name in LEFT_OUT or is_ignored(f"{path}/" if is_folder else path):
                continue
            if is_folder:
                pending.append(f"{path}/")
                continue
            _check_file(path, status.st_mode)
            yield path, status.st_size, bool(status.st_mode & stat.S_IXUSR)
            count[path.partition("/")[0]] += 1
            if count.total() > MAX_FILES:
                (top, most), *_ = count.most_common(1)
                raise InvalidValue(
                    f"context: it holds more than {MAX_FILES:,} files, at least {most:,} of them in {top}; {_leave_out(top)}"
                )


def _check_file(path: str, mode: int) -> None:
    shown = path.encode("utf-8", "replace").decode()
    if stat.S_ISLNK(mode):
        raise InvalidValue(f"context: {shown} is a link, and a bundle holds files only; {_leave_out(shown)}, or put a copy there")
    if not stat.S_ISREG(mode):
        raise InvalidValue(f"context: {shown} is neither a file nor a folder; {_leave_out(shown)}")
    if not is_safe(path):
        raise InvalidValue(f"context: the name {shown!r} is not allowed in a bundle (UTF-8 without backslashes); rename it")


def _check_size(found: list[tuple[str, int, bool]]) -> None:
    if not found:
        raise InvalidValue("context: there is no file in it to pack")
    total = sum(size for _, size, _ in found)
    if total > MAX_UNPACKED:
        raise InvalidValue(
            f"context: its files are {_megabytes(total)}, more than the {_megabytes(MAX_UNPACKED)} of a bundle; {_largest(found)}"
        )


def _largest(found: list[tuple[str, int, bool]]) -> str:
    path, size, _ = max(found, key=lambda file: file[1])
    return f"the largest file is {path} with {_megabytes(size)}; {_leave_out('what the code does not need')}"


def _leave_out(what: str) -> str:
    return f"name {what} in {IGNORE_FILES[0]} to leave it out"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.3g} MB"


def _read_ignore_file(root: Path) -> Callable[[str], bool]:
    """Whether a path, ending with / for a folder, is left out by the folder's own patterns, which are those of git."""
    import pathspec  # 20 ms that only who packs pays

    for name in IGNORE_FILES:
        if (root / name).is_file():
            try:
                lines = (root / name).read_text("utf-8").splitlines()
                patterns: Any = pathspec.GitIgnoreSpec.from_lines(lines)
            except (OSError, ValueError) as error:
                raise InvalidValue(f"context: {name} cannot be read: {error}") from error
            return lambda path: bool(patterns.match_file(path))
    return lambda path: False
