"""Checkpoint folders as one uncompressed tar and back.

The other side's archives are not trusted: only regular files and folders with relative paths inside the target come out, whatever the
archive says. Uncompressed, since tensors hardly compress and time on the GPU's host is dear.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tuner.errors import InvalidValue

MAX_MEMBERS = 100_000


class _Hashing:
    """The least of a binary stream that tarfile needs for writing, hashing what passes."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._target.write(data)


def pack(folder: Path, target: BinaryIO) -> str:
    """Write the folder's files (no links, no special files) to `target` and return the SHA-256 of what was written."""
    stream = _Hashing(target)
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            with path.open("rb") as content:
                member = tarfile.TarInfo(path.relative_to(folder).as_posix())
                member.size = path.stat().st_size
                tar.addfile(member, content)
    return stream.digest.hexdigest()


def unpack(source: BinaryIO, folder: Path) -> None:
    """Unpack into a new `folder`. InvalidValue for anything but regular files inside it; then nothing is left behind."""
    folder.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=source, mode="r|") as tar:
            for number, member in enumerate(tar):
                if number >= MAX_MEMBERS:
                    raise InvalidValue(f"checkpoint: more than {MAX_MEMBERS} files")
                _extract(tar, member, folder)
    except tarfile.TarError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise InvalidValue(f"checkpoint: not a whole tar archive: {error}") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or not path.parts:
        raise InvalidValue(f"checkpoint: the path {member.name[:200]!r} leaves the checkpoint's folder")
    if member.isdir():
        (folder / path).mkdir(parents=True, exist_ok=True)
        return
    if not member.isreg():
        raise InvalidValue(f"checkpoint: {member.name[:200]!r} is neither a file nor a folder")
    content = tar.extractfile(member)
    assert content is not None
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as written:
        shutil.copyfileobj(content, written, 1 << 20)
