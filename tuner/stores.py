"""Where a deployment's artifacts lie: whole files by name, in a folder or, through fsspec, in a bucket.

A file is whole or invisible: it is hashed on its way in, and appears under its name only once its hash is what was announced and all of it
is stored. Names are made by the server. What the files are, and which of them are still wanted, is for others to know (`tuner.artifacts`).
Credentials are never part of a location: each driver reads them from the environment. Its weakness: an upload to a bucket that is cut off
by the death of the server leaves parts that only the bucket's own lifecycle rules remove.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from tuner.errors import ArtifactsUnavailable, InvalidValue, StorageFull

BLOCK = 16 << 20
"""Bytes kept in memory of each file that goes to or comes from a bucket; 10,000 of them are the most that S3 takes for one file."""
CHUNK = 1 << 20
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FOLDERS = ("file", "local")
_OBJECT_STORES = {
    "s3": {
        "fixed_upload_size": True,  # some that speak S3 insist on parts of one size
        "config_kwargs": {
            "connect_timeout": 5,
            "read_timeout": 60,
            "max_pool_connections": 32,
            "retries": {"mode": "standard", "max_attempts": 2},
        },
    },
    "gs": {},
    "az": {},
    "abfs": {},
}
"""Stores where a file is visible once its upload is complete and not before, with the options of their drivers."""
_ALIASES = {"s3a": "s3", "gcs": "gs", "abfss": "abfs"}
_EXTRAS = {"s3": "pip install 'tuner[s3]'", "gs": "pip install gcsfs", "az": "pip install adlfs", "abfs": "pip install adlfs"}


class Readable(Protocol):
    """An open file of a store. What goes wrong while reading is ArtifactsUnavailable."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, /) -> object: ...
    def close(self) -> None: ...


def hash_rest(file: Readable) -> str:
    """SHA-256 of a file from where it stands."""
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


class Store(ABC):
    """Files by name. FileNotFoundError where there is none, ArtifactsUnavailable when the store fails, StorageFull when it is full."""

    location: str
    """As an operator may read it."""

    @abstractmethod
    def write(self, name: str, chunks: Iterable[bytes], sha256: str, max_bytes: int) -> int:
        """Store a file, in place of one of that name; its size in bytes.

        InvalidValue when it is larger than `max_bytes` or its SHA-256 is another: then, as when `chunks` raises, nothing is kept.
        """

    @abstractmethod
    def open(self, name: str) -> Readable: ...

    @abstractmethod
    def delete(self, names: Iterable[str]) -> None:
        """Remove these files; one that is not there is no error."""

    @abstractmethod
    def list(self) -> Iterator[str]:
        """Names of all files, also of what an interrupted upload has left where such is seen."""

    @abstractmethod
    def get_time(self, name: str) -> float:
        """When a file was stored, in seconds since 1970, by the clock of the store."""

    def check(self) -> None:
        """Store, read and remove a small file. InvalidValue where the settings are wrong, ArtifactsUnavailable where nothing answers."""
        name, content = f"probe-{uuid4().hex}", b"tuner"
        try:
            self.write(name, [content], hashlib.sha256(content).hexdigest(), len(content))
            with closing(self.open(name)) as file:
                found = file.read(len(content) + 1)
            self.delete([name])
        except ArtifactsUnavailable as error:
            explained = self._explain(error.__cause__)
            if explained is None:
                raise ArtifactsUnavailable(
                    f"TUNER_ARTIFACTS: {error.message}; see that its address and the network are right"
                ) from error
            raise InvalidValue(f"TUNER_ARTIFACTS: {explained}") from error
        if found != content:
            raise ArtifactsUnavailable(f"{self.location} gives back other bytes than it was given")

    @abstractmethod
    def _explain(self, cause: BaseException | None) -> str | None:
        """What about the settings is wrong, if it is that for which the store failed."""


def open_store(location: str | Path) -> Store:
    """The store at a folder's path or a URL such as s3://bucket/prefix; nothing is asked of it yet. InvalidValue without its driver."""
    scheme, separator, rest = str(location).partition("://")
    if not separator or scheme in _FOLDERS:
        return FolderStore(Path(rest if separator else location).expanduser())
    return RemoteStore(str(location), _ALIASES.get(scheme, scheme))


class FolderStore(Store):
    """A folder; written to a temporary file, flushed, renamed, its folder flushed. Replicas of the server must share it."""

    def __init__(self, folder: Path) -> None:
        self.location = str(folder)
        self._folder = folder

    def write(self, name: str, chunks: Iterable[bytes], sha256: str, max_bytes: int) -> int:
        path = self._path(name)
        partial = path.with_name(f"{path.name}.{uuid4().hex}.part")
        incoming = _Incoming(chunks, sha256, max_bytes)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with partial.open("wb") as stream:
                    for chunk in incoming:
                        stream.write(chunk)
                    stream.flush()
                    os.fsync(stream.fileno())
                size = incoming.verify()
                partial.rename(path)
            finally:
                partial.unlink(missing_ok=True)
            for folder in (path.parent, path.parent.parent):
                _flush(folder)
        except OSError as error:
            if error.errno in _FULL:
                raise StorageFull("the artifact folder's disk is full; nothing of this upload was kept") from error
            raise ArtifactsUnavailable(f"the artifact folder cannot be written: {error.strerror}") from error
        return size

    def open(self, name: str) -> Readable:
        return self._path(name).open("rb")

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self._path(name).unlink(missing_ok=True)

    def list(self) -> Iterator[str]:
        for folder, _, files in os.walk(self._folder):
            for file in files:
                yield Path(folder, file).relative_to(self._folder).as_posix()

    def get_time(self, name: str) -> float:
        return self._path(name).stat().st_mtime

    def _path(self, name: str) -> Path:
        return self._folder / _checked(name)

    def _explain(self, cause: BaseException | None) -> str | None:
        reason = cause.strerror if isinstance(cause, OSError) else None
        return f"cannot write the folder {self.location} ({reason}); choose another"


class RemoteStore(Store):
    """Files that an fsspec driver keeps elsewhere.

    To object stores an upload goes part by part and becomes a file when it is completed; elsewhere it is written under another name and
    moved.
    """

    def __init__(self, url: str, scheme: str) -> None:
        self.location = url.rstrip("/")
        self._bucket = url.partition("://")[2].partition("/")[0]
        self._is_object_store = scheme in _OBJECT_STORES
        options: dict[str, Any] = {"skip_instance_cache": True} | _OBJECT_STORES.get(scheme, {})
        if self._is_object_store:
            options = options | {"use_listings_cache": False}
        try:
            from fsspec.core import url_to_fs

            self._files, root = url_to_fs(url, **options)
        except ImportError as error:
            how = _EXTRAS.get(scheme, f"install fsspec's driver for it ({error})")
            raise InvalidValue(f"TUNER_ARTIFACTS: the driver for {scheme}:// is not installed: {how}") from error
        except Exception as error:
            reason = str(error) if isinstance(error, ValueError) else type(error).__name__
            raise InvalidValue(f"TUNER_ARTIFACTS: {self.location} cannot be used as a store: {reason}") from error
        self._root = str(root).rstrip("/")
        if scheme == "s3":
            self._files.retries = 2

    def write(self, name: str, chunks: Iterable[bytes], sha256: str, max_bytes: int) -> int:
        path = self._path(name)
        written = path if self._is_object_store else f"{path}.{uuid4().hex}.part"
        incoming = _Incoming(chunks, sha256, max_bytes)
        with self.driving():
            if not self._is_object_store:
                self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            file = self._files.open(written, "wb", block_size=BLOCK)
        try:
            for chunk in incoming:
                with self.driving():
                    file.write(chunk)
            size = incoming.verify()
            with self.driving():
                file.close()
                if written != path:
                    self._files.mv(written, path)
        except BaseException:
            self._discard(file, written)
            raise
        return size

    def open(self, name: str) -> Readable:
        path = self._path(name)
        with self.driving(missing=FileNotFoundError):
            file = self._files.open(path, "rb", block_size=BLOCK)
        # The driver of memory:// hands all its readers one and the same file.
        return BytesIO(file.getvalue()) if isinstance(file, BytesIO) else _RemoteFile(self, file)

    def delete(self, names: Iterable[str]) -> None:
        paths = [self._path(name) for name in names]
        with self.driving():
            if self._is_object_store and len(paths) > 1:
                with suppress(FileNotFoundError):
                    self._files.rm(paths)
                    return
            for path in paths:
                with suppress(FileNotFoundError):
                    self._files.rm_file(path)

    def list(self) -> Iterator[str]:
        with self.driving():
            self._files.invalidate_cache()
            paths = self._files.find(self._root)
        yield from (str(path)[len(self._root) :].lstrip("/") for path in paths)

    def get_time(self, name: str) -> float:
        path = self._path(name)
        with self.driving(missing=FileNotFoundError):
            return float(self._files.modified(path).timestamp())

    def _path(self, name: str) -> str:
        return f"{self._root}/{_checked(name)}"

    def _discard(self, file: Any, path: str) -> None:
        """Nothing of an upload stays; a driver would complete it when its file is closed, or forgotten."""
        with suppress(Exception):
            getattr(file, "discard", lambda: None)()
        with suppress(Exception):
            file.closed = True
        if not self._is_object_store:
            with suppress(Exception):
                self._files.rm_file(path)

    @contextmanager
    def driving(self, *, missing: type[OSError] | None = None) -> Iterator[None]:
        """Errors of the driver, of whatever class its library makes them, as ours; `missing` may pass as it is.

        Only the kind of an error is told: what drivers write may hold addresses that are signed.
        """
        try:
            yield
        except ArtifactsUnavailable:
            raise
        except Exception as error:
            if missing is not None and isinstance(error, missing):
                raise
            if isinstance(error, OSError) and error.errno in _FULL:
                raise StorageFull(f"{self.location} is full; nothing of this upload was kept") from error
            raise ArtifactsUnavailable(f"{self.location} fails or cannot be reached ({type(error).__name__})") from error

    def _explain(self, cause: BaseException | None) -> str | None:
        if isinstance(cause, FileNotFoundError):
            return f"there is no {self._bucket!r} at {self.location}; make it first"
        if isinstance(cause, PermissionError) or "Credentials" in type(cause).__name__:
            return f"{self.location} may not be read and written with the credentials that its driver finds in this environment"
        return None


class _RemoteFile:
    """A driver's file whose errors are ours."""

    def __init__(self, store: RemoteStore, file: Any) -> None:
        self._store = store
        self._file = file

    def read(self, size: int, /) -> bytes:
        with self._store.driving():
            return bytes(self._file.read(size))

    def seek(self, offset: int, /) -> None:
        self._file.seek(offset)

    def close(self) -> None:
        with suppress(Exception):
            self._file.close()


class _Incoming:
    """Chunks on their way into a store, counted and hashed."""

    def __init__(self, chunks: Iterable[bytes], sha256: str, max_bytes: int) -> None:
        self._chunks = chunks
        self._sha256 = sha256
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self._size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._size += len(chunk)
            if self._size > self._max_bytes:
                raise InvalidValue(f"the body is larger than the {self._max_bytes} bytes this server accepts")
            self._digest.update(chunk)
            yield chunk

    def verify(self) -> int:
        """The size, once the hash is what was announced."""
        found = self._digest.hexdigest()
        if found != self._sha256:
            raise InvalidValue(f"the body's SHA-256 is {found}, not {self._sha256} as announced; nothing was kept")
        return self._size


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a file in a store")
    return name


def _flush(folder: Path) -> None:
    """Make names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
