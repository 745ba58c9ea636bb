"""Code that comes with studies: bundles fetched once a host, unpacked in folders of their own, shared by its slots.

A folder is named by the SHA-256 of its bundle, and whole or not there. Server and archive are not trusted: bytes of another hash, more of
them than a bundle may have, links, paths that leave the folder: refused, and nothing is written outside. Files and folders are read-only,
so that one trial does not change the code of the next by accident; no lock keeps a trial of the same user from doing it on purpose.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
import threading
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tuner import packing
from tuner.errors import InvalidValue
from workers import archive

KEPT = 10
"""Bundles that stay on a host though no trial uses them; of more the one unused for longest goes."""
HEADERS = 4096
"""Bytes of headers and padding that a file may take in a tar beside its content."""
CHUNK = 1 << 20

Download = Callable[[BinaryIO], bool]
"""Writes a bundle whose hash has been checked; False when it gave up, because the trial is not this host's any more."""


class BundleCache:
    """The bundles in one folder of an agent; `close` removes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._holders = Counter[str]()
        self._used: list[str] = []

    @contextmanager
    def hold(self, sha256: str, download: Download) -> Iterator[Path | None]:
        """The folder of a bundle, which stays until the end of the block; None when the download gave up.

        InvalidValue for what is no bundle. OSError when this host has no room for it.
        """
        with self._lock:
            self._holders[sha256] += 1
        try:
            folder = self._folder / sha256
            yield folder if folder.is_dir() or self._bring(folder, download) else None
        finally:
            with self._lock:
                self._holders[sha256] -= 1
                self._used = [*(name for name in self._used if name != sha256), sha256]
                self._evict()

    def close(self) -> None:
        remove(self._folder)

    def _bring(self, folder: Path, download: Download) -> bool:
        """Two slots may do this for the same bundle at once; the second finds the folder there."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f".{uuid.uuid4().hex}"
        try:
            with tempfile.TemporaryFile(dir=self._folder) as packed:
                if not download(packed):
                    return False
                packed.seek(0)
                unpack(packed, partial)
            with suppress(OSError):
                partial.rename(folder)
            if not folder.is_dir():
                raise OSError(f"{folder} cannot be written")
            return True
        finally:
            remove(partial)

    def _evict(self) -> None:
        unused = [name for name in self._used if not self._holders[name]]
        for name in unused[: max(0, len(unused) - KEPT)]:
            self._used.remove(name)
            remove(self._folder / name)


def unpack(packed: BinaryIO, folder: Path) -> None:
    """Unpack a bundle into a new, read-only folder. InvalidValue for what is none; then nothing is left behind."""
    with tempfile.TemporaryFile(dir=folder.parent) as plain:
        _unzip(packed, plain, packing.MAX_UNPACKED + packing.MAX_FILES * HEADERS)
        plain.seek(0)
        archive.unpack(plain, folder, what="bundle", max_members=packing.MAX_FILES, max_bytes=packing.MAX_UNPACKED)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode & 0o555)


def remove(folder: Path) -> None:
    """Remove a folder with the read-only ones in it, if it is there."""
    if folder.is_dir():
        for path in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
            path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _unzip(packed: BinaryIO, target: BinaryIO, limit: int) -> None:
    size = 0
    try:
        with gzip.GzipFile(fileobj=packed) as stream:
            while chunk := stream.read(CHUNK):
                size += len(chunk)
                if size > limit:
                    raise InvalidValue(f"bundle: unpacked it is larger than {limit:,} bytes")
                target.write(chunk)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidValue(f"bundle: not a whole gzip file: {error}") from error
