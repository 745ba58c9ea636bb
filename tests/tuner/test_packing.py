"""Packing a folder of code: the same bytes for the same files, and one sentence about what no bundle can hold."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tuner import packing
from tuner.errors import InvalidValue
from tuner.packing import Packed, is_safe, pack


def packed(folder: Path) -> tuple[Packed, bytes]:
    target = io.BytesIO()
    return pack(folder, target), target.getvalue()


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    one = write(tmp_path / "one", {"train": "print()", "lib/model": "x = 1", "b": "", "a": ""})
    other = write(tmp_path / "other", {"a": "", "b": "", "lib/model": "x = 1", "train": "print()"})
    os.utime(other / "train", (1, 1))
    (other / "lib" / "model").chmod(0o600)
    (other / "empty").mkdir()
    (first, data), (second, again) = packed(one), packed(other)
    assert data == again
    assert first == second
    assert first.sha256 == sha256(data).hexdigest()
    assert first.size == len(data)
    assert data[4:8] == bytes(4), "the time in gzip's own header"
    assert first.files == ("a", "b", "lib/model", "train")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert {(m.uid, m.gid, m.uname, m.gname, m.mtime, m.mode) for m in tar} == {(0, 0, "", "", 0, 0o644)}
    (other / "train").chmod(0o755)
    assert packed(other)[0].sha256 != first.sha256
    (other / "train").chmod(0o644)
    (other / "a").write_text("changed")
    assert packed(other)[0].sha256 != first.sha256


def test_what_is_left_out(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "train.py": "", ".git/config": "", "lib/__pycache__/x.pyc": "", ".venv/bin/python": "",
            "tuner-data/credentials.json": "", "data/raw/big.bin": "", "data/keep.txt": "", "run.log": "", "lib/run.log": "",
            "lib/keep.log": "", "build/x": "", "lib/build/y": "",
        },
    )  # fmt: skip
    (tmp_path / ".venv" / "bin" / "link").symlink_to("/usr/bin/python3")
    write(tmp_path, {".gitignore": "*.py\n"})
    assert "train.py" not in packed(tmp_path)[0].files
    write(tmp_path, {".tunerignore": "# what the code does not need\n/data/*\n!/data/keep.txt\n*.log\n!keep.log\n/build/\n"})
    assert packed(tmp_path)[0].files == (
        ".gitignore", ".tunerignore", "data/keep.txt", "lib/build/y", "lib/keep.log", "train.py",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), "lib/odd is a link"),
        (lambda path: path.symlink_to("."), "lib/odd is a link"),
        (lambda path: path.symlink_to("nothing"), "lib/odd is a link"),
        (os.mkfifo, "lib/odd is neither a file nor a folder"),
        (make_socket, "lib/odd is neither a file nor a folder"),
        (lambda path: path.with_name("a\\b").touch(), r"'lib/a\\\\b' is not allowed in a bundle"),
        (lambda path: Path(os.fsdecode(bytes(path.parent) + b"/\xff")).touch(), "is not allowed in a bundle"),
    ],
)
def test_what_no_bundle_can_hold_is_named(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    write(tmp_path, {"train.py": "", "lib/x.py": ""})
    make(tmp_path / "lib" / "odd")
    with pytest.raises(InvalidValue, match=f"^context: .*{words}") as caught:
        packed(tmp_path)
    assert "\n" not in str(caught.value)
    (tmp_path / ".tunerignore").write_text("/lib/\n")
    assert packed(tmp_path)[0].files == (".tunerignore", "train.py")


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"train.py": "x" * 10})
    (tmp_path / "weights.bin").write_bytes(os.urandom(5_000))
    monkeypatch.setattr(packing, "MAX_PACKED", 4_000)
    with pytest.raises(InvalidValue, match=r"packed it is larger than 0.004 MB; the largest file is weights.bin with 0.005 MB"):
        packed(tmp_path)
    monkeypatch.setattr(packing, "MAX_UNPACKED", 5_009)
    with pytest.raises(InvalidValue, match=r"its files are .* more than .* the largest file is weights.bin .*\.tunerignore"):
        packed(tmp_path)
    monkeypatch.undo()
    packed(tmp_path)
    monkeypatch.setattr(packing, "MAX_FILES", 3)
    write(tmp_path, {"many/1": "", "many/2": ""})
    with pytest.raises(
        InvalidValue, match=r"it holds more than 3 files, at least \d of them in many; name many in \.tunerignore"
    ):
        packed(tmp_path)


def test_what_is_no_context(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=r"^context: .*nothing is no folder$"):
        packed(tmp_path / "nothing")
    (tmp_path / "__pycache__").mkdir()
    with pytest.raises(InvalidValue, match="there is no file in it"):
        packed(tmp_path)
    (tmp_path / ".tunerignore").write_bytes(b"\xff")
    with pytest.raises(InvalidValue, match=r"^context: \.tunerignore cannot be read"):
        packed(tmp_path)


@pytest.mark.parametrize("path", ["", ".", "..", "/a", "a/../b", "../a", "a\\b", "a\0b", "a/\udcff", "//a", "C:\\a"])
def test_paths_that_are_not_safe(path: str) -> None:
    assert not is_safe(path)


@pytest.mark.parametrize("path", ["a", "a/b", ".hidden", "a..b", "...", "ü/日本.py", "a b"])
def test_paths_that_are_safe(path: str) -> None:
    assert is_safe(path)
