"""Checkpoint archives: whole round trips, and nothing from a hostile archive leaves its folder."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from tuner.errors import InvalidValue
from workers import archive


def hostile(member: tarfile.TarInfo, content: bytes = b"") -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    stream.seek(0)
    return stream


def test_a_folder_comes_back_byte_for_byte(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "state.json").write_text("{}")
    (source / "deep" / "weights").write_bytes(bytes(range(256)) * 5_000)
    (source / "link").symlink_to("/etc/passwd")
    stream = io.BytesIO()
    digest = archive.pack(source, stream)
    assert digest == hashlib.sha256(stream.getvalue()).hexdigest()
    stream.seek(0)
    archive.unpack(stream, tmp_path / "copy")
    found = {path.relative_to(tmp_path / "copy").as_posix(): path for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    assert sorted(found) == ["deep/weights", "state.json"]
    assert found["deep/weights"].read_bytes() == bytes(range(256)) * 5_000


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "a\\..\\evil", "..", "a/../../../b"])
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidValue, match="leaves the checkpoint's folder"):
        archive.unpack(hostile(tarfile.TarInfo(name), b"x"), tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_special_files_are_refused(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("innocent")
    member.type = kind
    member.linkname = "/etc/passwd"
    with pytest.raises(InvalidValue, match="neither a file nor a folder"):
        archive.unpack(hostile(member), tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [b"77777777777", b"\xff" * 12])
@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_no_header_is_read_into_memory_whole(tmp_path: Path, kind: bytes, size: bytes) -> None:
    """Extended headers and long names say themselves how long they are."""
    block = bytearray(tarfile.TarInfo("x").tobuf())
    block[124:136] = size.ljust(12, b"\0")
    block[156:157] = kind
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:]))
    asked = []

    class Source(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            asked.append(size)
            return super().read(size)

    with pytest.raises(InvalidValue):
        archive.unpack(Source(bytes(block) + bytes(4_000_000)), tmp_path / "copy")
    assert asked
    assert all(size is not None and 0 <= size <= archive.MAX_READ for size in asked)


@pytest.mark.parametrize("cut", [10, 700])
def test_a_torn_archive_is_refused(tmp_path: Path, cut: int) -> None:
    data = hostile(tarfile.TarInfo("weights"), b"x" * 5_000).getvalue()
    with pytest.raises(InvalidValue, match="not a whole tar archive"):
        archive.unpack(io.BytesIO(data[:cut]), tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []
