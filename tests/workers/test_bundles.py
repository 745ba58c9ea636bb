"""Bundles on a worker: whole or not there, nothing outside their folder whatever the server sends, none held while it is removed."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from tuner import packing
from tuner.errors import InvalidValue
from workers import bundles
from workers.bundles import BundleCache, remove, unpack

CANARY = "canary"


def packed(folder: Path, **files: str) -> bytes:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    target = io.BytesIO()
    packing.pack(folder, target)
    return target.getvalue()


def tar(*members: tarfile.TarInfo, format: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as archive:
        for member in members:
            content = b"x" * (member.size if member.isreg() else 0)
            archive.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return stream.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, *, size: int = 1, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.size, made.linkname, made.mode = kind, size if kind == tarfile.REGTYPE else 0, link, mode
    return made


def header(name: bytes, size: bytes, kind: bytes) -> bytes:
    """A tar header written by hand, with sizes and types that tarfile itself would not write."""
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = size.ljust(12, b"\0")
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def give(data: bytes) -> Callable[[BinaryIO], bool]:
    def download(target: BinaryIO) -> bool:
        target.write(data)
        return True

    return download


NAMES = [
    "../canary", "../../canary", "a/../../canary", "/tmp/canary", "//tmp/canary", "..", ".", "./..", "a/b/../../../canary", "..\\canary",
    "\\canary", "C:\\canary", "a\\..\\..\\canary", "/", "", "a/./../../canary", "../bundle/canary", "file/../../canary", "\udcff",
    "a/" * 3000 + "x", "x" * 300, "/proc/self/cwd/../canary", "~/../../canary", ".." + "/.." * 200 + "/tmp/canary",
]  # fmt: skip
LINKS = ["/etc/passwd", "..", "../canary", "/", "file", "/tmp"]
HOSTILE: dict[str, bytes] = {
    **{f"name {name[:30]!r} {format}": tar(member(name), format=format)
       for name in NAMES for format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)},
    **{f"link to {link} {kind!r}": tar(member("file", kind, link=link)) for link in LINKS for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE)},
    **{f"through {link}": tar(member("d", tarfile.SYMTYPE, link=link), member("d/canary")) for link in LINKS},
    **{f"kind {kind!r}": tar(member("file", kind)) for kind in (tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE)},
    "twice": tar(member("file"), member("file")),
    "file as folder": tar(member("file"), member("file/canary")),
    "folder as file": tar(member("d/file"), member("d")),
    "negative size": header(b"file", b"\xff" * 12, b"0") + bytes(1024),
    "negative long name": header(b"././@LongLink", b"\xff" * 12, b"L") + bytes(1024),
    "negative extended header": header(b"x", b"\xff" * 12, b"x") + bytes(1024),
    "gigantic extended header": header(b"x", b"77777777777", b"x") + bytes(2_000_000),
    "gigantic long name": header(b"././@LongLink", b"00007641100", b"L") + b"x" * 2_000_000,
    "sparse": header(b"file", b"00000000000", b"S") + bytes(1024),
    "sparse without end": header(b"x", b"00000000054", b"x")
    + b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n".ljust(512, b"\0")
    + header(b"f", b"00000001000", b"0")
    + b"9".ljust(512, b"9"),
    "extended headers in a row": header(b"x", b"00000000000", b"x") * 5_000,
    "size beyond the end": header(b"file", b"00000100000", b"0") + bytes(512),
    "no tar": b"x" * 2_000,
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_bundle_is_refused_and_leaves_nothing(tmp_path: Path, what: str) -> None:
    """What is well-formed tar for others too: names, links, devices, and sizes that send readers round for ever."""
    (tmp_path / "outer" / "cache").mkdir(parents=True)
    canary = tmp_path / "outer" / CANARY
    canary.write_text("alive")
    data = gzip.compress(HOSTILE[what]) if HOSTILE[what] else b""
    with pytest.raises(InvalidValue, match=r"^bundle: ") as caught:
        unpack(io.BytesIO(data), tmp_path / "outer" / "cache" / "bundle")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "outer", tmp_path / "outer" / "cache", canary]
    assert canary.read_text() == "alive"
    assert not Path("/tmp/canary").exists()


@pytest.mark.parametrize(
    "data",
    [b"x", b"\x1f\x8b", gzip.compress(b"")[:-3], gzip.compress(tar(member("a")))[:-9], gzip.compress(tar(member("a"))) + b"rest"],
    ids=["no magic", "magic only", "cut empty", "cut", "with a rest"],
)
def test_what_is_no_gzip_file_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InvalidValue, match=r"^bundle: not a whole gzip file"):
        unpack(io.BytesIO(data), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_bombs_are_stopped_while_they_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MAX_UNPACKED", 100_000)
    monkeypatch.setattr(packing, "MAX_FILES", 20)
    written = 0

    class Counting(io.BytesIO):
        def write(self, data: object) -> int:  # type: ignore[override]
            nonlocal written
            written += len(data)  # type: ignore[arg-type]
            return super().write(data)  # type: ignore[arg-type]

    monkeypatch.setattr(bundles.tempfile, "TemporaryFile", lambda dir: Counting())
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < 100_000
    for data, words in [
        (bomb, "larger than 181,920 bytes"),
        (gzip.compress(tar(member("a", size=60_000), member("b", size=60_000))), "larger than 100,000 bytes"),
        (gzip.compress(tar(*(member(f"{number}", size=0) for number in range(21)))), "more than 20 files"),
        (gzip.compress(tar(*(member(f"{number}", tarfile.DIRTYPE) for number in range(21)))), "more than 20 files"),
    ]:
        written = 0
        with pytest.raises(InvalidValue, match=words):
            unpack(io.BytesIO(data), tmp_path / "bundle")
        assert written < 200_000
        assert list(tmp_path.iterdir()) == []


def test_a_bundle_comes_out_as_it_went_in_and_read_only(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "pkg").mkdir(parents=True)
    (source / "pkg" / "日本.txt").write_text("x" * 100_000)
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    data = packed(source, train="x = 1")
    unpack(io.BytesIO(data), tmp_path / "bundle")
    modes = {
        path.relative_to(tmp_path / "bundle").as_posix(): path.stat().st_mode & 0o777 for path in (tmp_path / "bundle").rglob("*")
    }
    assert modes == {"pkg": 0o555, "pkg/日本.txt": 0o444, "run.sh": 0o555, "train.py": 0o444}
    assert (tmp_path / "bundle").stat().st_mode & 0o222 == 0
    assert (tmp_path / "bundle" / "pkg" / "日本.txt").read_text() == "x" * 100_000
    again = io.BytesIO()
    packing.pack(tmp_path / "bundle", again)
    assert again.getvalue() == data
    remove(tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_is_fetched_once_and_is_whole_or_not_there(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path / "cache")
    data = packed(tmp_path / "source", train="x = 1")
    fetched = []

    def download(target: BinaryIO) -> bool:
        fetched.append(1)
        return give(data)(target)

    with pytest.raises(InvalidValue), cache.hold("a" * 64, give(data[:-20])):
        pass
    assert list((tmp_path / "cache").iterdir()) == []
    with cache.hold("a" * 64, lambda target: False) as folder:
        assert folder is None
    for _ in range(2):
        with cache.hold("a" * 64, download) as folder, cache.hold("a" * 64, download) as same:
            assert folder == same == tmp_path / "cache" / ("a" * 64)
            assert (folder / "train.py").read_text() == "x = 1"
    assert fetched == [1]
    cache.close()
    assert not (tmp_path / "cache").exists()


def test_two_slots_may_bring_the_same_bundle_at_once(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path / "cache")
    data = packed(tmp_path / "source", train="x = 1")

    def download_second(target: BinaryIO) -> bool:
        with cache.hold("a" * 64, give(data)) as first:
            assert first is not None
        return give(data)(target)

    with cache.hold("a" * 64, download_second) as folder:
        assert folder is not None
        assert [path.name for path in folder.iterdir()] == ["train.py"]
        assert [path.name for path in (tmp_path / "cache").iterdir()] == ["a" * 64]


def test_the_longest_unused_bundle_goes_and_none_that_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "KEPT", 2)
    cache = BundleCache(tmp_path / "cache")
    data = packed(tmp_path / "source", train="x = 1")

    def there() -> str:
        return "".join(sorted(path.name for path in (tmp_path / "cache").iterdir()))

    for _ in range(2):
        with cache.hold("a", give(data)):
            pass
    with cache.hold("a", give(data)):
        for name in "bcb":
            with cache.hold(name, give(data)):
                pass
        assert there() == "abc"
        with cache.hold("d", give(data)):
            pass
        assert there() == "abd"
    assert there() == "ad"
