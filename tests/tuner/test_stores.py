"""Files in stores are whole or invisible, in a folder, behind an fsspec driver, and in a bucket that speaks S3."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from time import time
from uuid import uuid4

import pytest

from tests.buckets import Bucket
from tests.tuner.test_cli import check_refused, run
from tuner.errors import ArtifactsUnavailable, InvalidValue, StorageFull
from tuner.settings import Settings
from tuner.stores import BLOCK, Store, hash_rest, open_store

LIMIT = 1 << 30


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(tmp_path / "store")
    return open_store(f"memory://{uuid4().hex}" if request.param == "memory" else request.getfixturevalue("bucket").url)


def put(store: Store, name: str, body: bytes, digest: str | None = None, limit: int = LIMIT) -> int:
    chunks = (body[at : at + 65_536] for at in range(0, len(body), 65_536))
    return store.write(name, chunks, digest or sha256(body).hexdigest(), limit)


def get(store: Store, name: str) -> bytes:
    with closing(store.open(name)) as file:
        return b"".join(iter(lambda: file.read(1 << 20), b""))


@pytest.mark.parametrize("size", [0, 5, BLOCK + BLOCK // 2])
def test_what_goes_in_comes_out(store: Store, size: int) -> None:
    body = os.urandom(size)
    assert put(store, "ab/file.tar", body) == size
    assert get(store, "ab/file.tar") == body
    assert list(store.list()) == ["ab/file.tar"]
    assert abs(store.get_time("ab/file.tar") - time()) < 60
    put(store, "ab/file.tar", b"another")
    with closing(store.open("ab/file.tar")) as file:
        assert hash_rest(file) == sha256(b"another").hexdigest()
        file.seek(3)
        assert file.read(2) == b"th"


@pytest.mark.parametrize("size", [5, BLOCK + BLOCK // 2])
def test_nothing_is_kept_of_what_is_not_as_announced_or_too_large_or_breaks_off(store: Store, size: int) -> None:
    body = os.urandom(size)
    with pytest.raises(InvalidValue, match="SHA-256"):
        put(store, "ab/wrong.tar", body, sha256(b"").hexdigest())
    with pytest.raises(InvalidValue, match=f"larger than the {size - 1} bytes"):
        put(store, "ab/large.tar", body, limit=size - 1)

    def break_off() -> Iterator[bytes]:
        yield body
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.write("ab/broken.tar", break_off(), sha256(body).hexdigest(), LIMIT)
    assert list(store.list()) == []
    with pytest.raises(FileNotFoundError):
        store.open("ab/wrong.tar")


def test_no_parts_are_left_in_the_bucket(bucket: Bucket) -> None:
    store = open_store(bucket.url)
    with pytest.raises(InvalidValue):
        put(store, "ab/wrong.tar", bytes(2 * BLOCK), sha256(b"").hexdigest())
    assert bucket.uploads() == []
    put(store, "ab/right.tar", b"bytes")
    assert bucket.names() == ["a/prefix/ab/right.tar"]


def test_a_failed_replacement_leaves_what_was_there(store: Store) -> None:
    put(store, "ab/file.tar", b"first")
    with pytest.raises(InvalidValue):
        put(store, "ab/file.tar", b"second", sha256(b"").hexdigest())
    assert get(store, "ab/file.tar") == b"first"


def test_deleting(store: Store) -> None:
    for number in range(3):
        put(store, f"ab/{number}", b"body")
    store.delete(["ab/0", "ab/gone", "ab/1"])
    assert list(store.list()) == ["ab/2"]
    store.delete(["ab/gone"])
    store.delete([])
    store.delete(["ab/2"])
    assert list(store.list()) == []


@pytest.mark.parametrize("name", ["../x", "a/../x", "/x", "a//x", "", ".x", "a/.", "A", "a\\x", "a/x\n"])
def test_names_stay_inside(store: Store, name: str) -> None:
    for act in (lambda: put(store, name, b""), lambda: store.open(name), lambda: store.delete([name])):
        with pytest.raises(ValueError, match="is no name of a file"):
            act()


def test_a_store_is_checked_and_left_as_it_was(store: Store) -> None:
    store.check()
    assert list(store.list()) == []


def test_a_bucket_that_is_away_fails_and_works_again(bucket: Bucket) -> None:
    store = open_store(bucket.url)
    put(store, "ab/file.tar", b"body")
    file = store.open("ab/file.tar")
    bucket.endpoint.stop()
    for act in (
        lambda: put(store, "ab/other.tar", b"body"),
        lambda: file.read(1),
        lambda: store.delete(["ab/file.tar"]),
    ):
        with pytest.raises(ArtifactsUnavailable, match=r"^s3://\S+ fails or cannot be reached \(\w+\)$"):
            act()
    file.close()
    with pytest.raises(ArtifactsUnavailable, match=r"TUNER_ARTIFACTS: .* see that its address"):
        store.check()
    bucket.endpoint.start()
    put(store, "ab/other.tar", b"body")
    assert bucket.names() == ["a/prefix/ab/file.tar", "a/prefix/ab/other.tar"]


def test_settings_that_cannot_work_are_told_apart(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="there is no 'elsewhere' at s3://elsewhere/x; make it first"):
        open_store("s3://elsewhere/x").check()
    with pytest.raises(InvalidValue, match=r"TUNER_ARTIFACTS: the driver for gs:// is not installed: pip install gcsfs"):
        open_store("gs://bucket/x")
    with pytest.raises(InvalidValue, match=r"TUNER_ARTIFACTS: nothing://x cannot be used as a store: Protocol not known"):
        open_store("nothing://x")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InvalidValue, match=r"cannot write the folder .*file \((Not a directory|File exists)\); choose another"):
        open_store(tmp_path / "file").check()


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("needs /dev/full")
    store = open_store(tmp_path)

    def fill() -> Iterator[bytes]:
        (partial,) = tmp_path.rglob("*.part")  # a file on a full disk takes its place, before anything has been flushed to it
        yield b"body"
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, _descriptor(partial))
        os.close(full)

    with pytest.raises(StorageFull, match="disk is full; nothing of this upload was kept"):
        store.write("ab/file.tar", fill(), sha256(b"body").hexdigest(), LIMIT)
    assert list(store.list()) == []


def _descriptor(path: Path) -> int:
    """The descriptor under which this process has a file open."""
    return next(int(entry.name) for entry in Path("/proc/self/fd").iterdir() if Path(os.path.realpath(entry)) == path)


@pytest.mark.parametrize(
    "location",
    [
        "s3://key:secret@bucket/x",
        "s3://bucket/x?key=secret",
        "s3://bucket/x#secret",
        "s3://",
        "s3:///",
        "simplecache::s3://bucket/x",
    ],
)
def test_locations_hold_no_credentials_and_name_a_place(location: str) -> None:
    with pytest.raises(InvalidValue, match=r"^TUNER_ARTIFACTS: give") as raised:
        Settings.from_environment({"TUNER_ARTIFACTS": location})
    assert "secret" not in str(raised.value)


def test_artifacts_lie_in_the_data_folder_unless_told_otherwise(tmp_path: Path) -> None:
    assert Settings(data=tmp_path).artifacts_location == str(tmp_path / "artifacts")
    told = Settings.from_environment({"TUNER_ARTIFACTS": "abfs://container@account.dfs.core.windows.net/x"})
    assert told.artifacts_location == "abfs://container@account.dfs.core.windows.net/x"


@pytest.mark.parametrize(
    "command, location, endpoint, code, said",
    [
        ("up", "gs://bucket", None, 2, "TUNER_ARTIFACTS: the driver for gs:// is not installed: pip install gcsfs"),
        ("up", "s3://somewhere", "http://127.0.0.1:9", 3, "TUNER_ARTIFACTS: s3://somewhere fails or cannot be reached"),
        ("server", "s3://elsewhere/x", None, 2, "TUNER_ARTIFACTS: there is no 'elsewhere' at s3://elsewhere/x; make it first"),
    ],
)
def test_what_is_wrong_with_the_store_is_said_at_start(
    bucket: Bucket, tmp_path: Path, database_url: str, command: str, location: str, endpoint: str | None, code: int, said: str
) -> None:
    environment = {
        "AWS_ENDPOINT_URL": endpoint or bucket.endpoint.url,
        "TUNER_ARTIFACTS": location,
        "TUNER_DATABASE_URL": database_url,
        "TUNER_ALLOW_UNSAFE_DATABASE": "1",
    }
    check_refused(run(command, "--port", "0", "--data", "data", cwd=tmp_path, **environment), code, said)
