"""Folders as tar archives and back: checkpoints, uncompressed, and the code of bundles, once unzipped.

The other side's archives are not trusted: only regular files and folders with relative paths inside the target come out, within the
limits asked for, whatever the archive says. Checkpoints are not compressed, since tensors hardly compress and time on the GPU's host is
dear.
"""

from __future__ import annotations

import errno
import math
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tuner.errors import InvalidValue
from tuner.packing import HashingWriter, is_safe

MAX_MEMBERS = 100_000
MAX_READ = 1 << 20
"""Bytes read at once. Files are copied in pieces of this size; only an extended header would be read into memory whole."""
_IMPOSSIBLE_PATHS = frozenset(
    {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ELOOP}
)


class _Reader:
    """What tarfile needs for reading, without the sizes that a hostile header may ask for."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.tell = source.tell
        self.seek = source.seek

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_READ:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._source.read(size)


def pack(folder: Path, target: BinaryIO) -> str:
    """Write the folder's files (no links, no special files) to `target` and return the SHA-256 of what was written."""
    stream = HashingWriter(target)
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            with path.open("rb") as content:
                member = tarfile.TarInfo(path.relative_to(folder).as_posix())
                member.size = path.stat().st_size
                tar.addfile(member, content)
    return stream.sha256


def unpack(
    source: BinaryIO, folder: Path, *, what: str = "checkpoint", max_members: int = MAX_MEMBERS, max_bytes: float = math.inf
) -> None:
    """Unpack a seekable stream into a new `folder`; of modes only whether the owner may execute a file is kept.

    InvalidValue for anything but regular files inside it, and beyond the limits; then nothing is left behind.
    """
    folder.mkdir(parents=True)
    size = 0
    try:
        with tarfile.open(fileobj=_Reader(source), mode="r:") as tar:  # type: ignore[call-overload]
            for number, member in enumerate(tar):
                size += member.size
                if number >= max_members:
                    raise InvalidValue(f"{what}: more than {max_members:,} files")
                if size > max_bytes:
                    raise InvalidValue(f"{what}: unpacked it is larger than {max_bytes:,} bytes")
                _extract(tar, member, folder, what)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        # Of the last kinds are what tarfile makes of numbers and names that it does not expect.
        if isinstance(error, tarfile.TarError | ValueError | ArithmeticError | LookupError | RecursionError):
            raise InvalidValue(f"{what}: not a whole tar archive: {error}") from error
        raise


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, what: str) -> None:
    shown = member.name[:200].encode("utf-8", "replace").decode()
    if not is_safe(member.name):
        raise InvalidValue(f"{what}: the path {shown!r} leaves the {what}'s folder, or is none that can be written")
    target = folder / PurePosixPath(member.name)
    try:
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            return
        if not member.isreg() or member.issparse() or member.size < 0:
            raise InvalidValue(f"{what}: {shown!r} is neither a file nor a folder")
        content = tar.extractfile(member)
        assert content is not None
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as written:
            shutil.copyfileobj(content, written, MAX_READ)
        if member.mode & 0o100:
            target.chmod(0o755)
    except OSError as error:
        if error.errno in _IMPOSSIBLE_PATHS:
            raise InvalidValue(f"{what}: {shown!r} cannot be written: {error.strerror}") from error
        raise
