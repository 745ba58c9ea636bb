"""What a worker reads for the built-in trainer: only below the folders its operator has named, wherever a path leads."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.workers.conftest import Heard
from tuner import catalog
from tuner.catalog.datasets import files
from workers.errors import Refused
from workers.executors.trainer import locate_files
from workers.roots import DataRoots

Run = Callable[..., Heard]
ROWS = "a,b,y\n" + "".join(f"{row % 7},{row % 5},{row % 2}\n" for row in range(40))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for file in (
        "root/iris.csv",
        "root/deep/iris.csv",
        "root/.ssh/iris.csv",
        "root/data/tuner.csv",
        "root-2/iris.csv",
        "secret.csv",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(ROWS)
    (root / "link.csv").symlink_to(tmp_path / "secret.csv")
    (root / "up").symlink_to(tmp_path)
    (root / "loop").symlink_to("loop")
    (root / "inner.csv").symlink_to("deep/iris.csv")
    (root / "hidden.csv").symlink_to(".ssh/iris.csv")
    return root


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("iris.csv", "iris.csv"),
        ("./iris.csv", "iris.csv"),
        ("deep/../iris.csv", "iris.csv"),
        ("inner.csv", "deep/iris.csv"),
        ("{root}/iris.csv", "iris.csv"),
        ("{root}/../root/iris.csv", "iris.csv"),
        ("up/root/iris.csv", "iris.csv"),
        ("missing.csv", "missing.csv"),
        ("", ""),
    ],
)
def test_what_lies_below_a_root_is_found(root: Path, path: str, found: str) -> None:
    assert DataRoots(folders=(root,)).locate(path.format(root=root), "path") == root / found


@pytest.mark.parametrize(
    "path",
    [
        "..", "../secret.csv", "../root-2/iris.csv", "deep/../../secret.csv", "link.csv", "up/secret.csv", "up", "/", "/etc/passwd",
        "{root}/../secret.csv", "{root}-2/iris.csv", "//etc/passwd", "/proc/self/environ", "/dev/stdin", "~", "~/x", "~nobody-here/x",
        "loop", "a\0b", "../" * 100 + "etc/passwd", ".ssh/iris.csv", "hidden.csv", "{root}/.ssh", "deep/./../.ssh/iris.csv",
        "data/tuner.csv", "up/root/data/tuner.csv", "data", "/dev/fd/0", "file:///etc/passwd/../../../../../../../../etc/passwd",
    ],
)  # fmt: skip
def test_everything_else_is_refused_in_one_sentence(root: Path, path: str) -> None:
    roots = DataRoots(folders=(root,), closed=(root / "data",))
    with pytest.raises(Refused, match=r"^dataset\.path: ") as caught:
        roots.locate(path.format(root=root), "dataset.path")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_whether_a_file_outside_exists_is_not_told(root: Path) -> None:
    said = []
    for name in ("secret.csv", "nothing.csv"):
        with pytest.raises(Refused) as caught:
            DataRoots(folders=(root,)).locate(f"../{name}", "path")
        said.append(str(caught.value).replace(name, ""))
    assert said[0] == said[1]


def test_several_roots_and_a_root_that_is_hidden_or_closed_itself(root: Path) -> None:
    roots = DataRoots(folders=(root / "deep", root, root / ".ssh", root / "data"), closed=(root / "data",))
    assert roots.locate("iris.csv", "path") == root / "deep" / "iris.csv"
    assert roots.locate("link.csv/../iris.csv", "path") == root / "deep" / "iris.csv"
    assert roots.locate(str(root / ".ssh" / "iris.csv"), "path") == root / ".ssh" / "iris.csv"
    assert roots.locate("tuner.csv", "path") == root / "data" / "tuner.csv"
    assert roots.locate("nothing.csv", "path") == root / "deep" / "nothing.csv"


def test_without_a_root_no_file_is_read(root: Path) -> None:
    with pytest.raises(Refused, match=r"^path: this worker reads no files; .* --data-root DIR\.$"):
        DataRoots().locate(str(root / "iris.csv"), "path")


def test_every_text_of_a_data_set_is_a_path_or_a_column() -> None:
    """A data set added to the catalogue is held to the roots without being told."""
    found = {entry.name: files(entry) for entry in catalog.entries("datasets") if files(entry)}
    assert found == {
        **dict.fromkeys(["csv", "parquet", "npz", "image_folder", "mnist", "cifar10", "text"], ("path",)),
        "parallel_text": ("source", "target"),
        "coco": ("path", "images"),
    }


def test_parameters_are_looked_up_as_well(root: Path) -> None:
    config = {"dataset": {"name": "csv", "path": "iris.csv", "target": "y"}, "model": {"name": "mlp"}}
    roots = DataRoots(folders=(root,))
    assert locate_files(config, {}, roots) == {"dataset.path": str(root / "iris.csv")}
    assert locate_files(config, {"dataset.path": "deep/iris.csv"}, roots) == {"dataset.path": str(root / "deep" / "iris.csv")}
    with pytest.raises(Refused, match=r"dataset\.path"):
        locate_files(config, {"dataset.path": "../secret.csv"}, roots)
    with pytest.raises(Refused, match=r"dataset\.path"):
        locate_files(
            {"dataset": {"name": "digits"}, "model": {"name": "mlp"}}, {"dataset.name": "npz", "dataset.path": "/x"}, roots
        )
    assert locate_files({"dataset": {"name": "digits"}, "model": {"name": "mlp"}}, {}, DataRoots()) == {}


def trainer(path: str) -> dict[str, Any]:
    trainer = {"dataset": {"name": "csv", "path": path, "target": "y"}, "model": {"name": "mlp", "hidden": [2]}, "epochs": 1}
    return {"executor": "trainer", "trainer": trainer}


def test_a_trial_reads_below_the_root_and_nowhere_else(run: Run, root: Path) -> None:
    roots, asked = DataRoots(folders=(root,)), {"objectives": ["val_loss"], "params": {}}
    tell = run(trainer("iris.csv"), data=roots, **asked).tell()
    assert tell.state == "COMPLETE", tell.error
    for path, data in (("../secret.csv", roots), (str(root / "iris.csv"), DataRoots())):
        tell = run(trainer(path), data=data, **asked).tell()
        assert (tell.state, tell.reason) == ("FAIL", "refused")
        assert "--data-root" in (tell.error or "")
        assert "\n" not in (tell.error or "")
    tell = run(trainer("missing.csv"), data=roots, **asked).tell()
    assert (tell.state, tell.reason) == ("FAIL", "exception")
    assert "there is no file" in (tell.error or "")


@pytest.mark.parametrize("name", ["../../secret.png", "/etc/passwd", "..\\x.png"])
def test_an_annotation_names_no_image_outside_of_its_folder(root: Path, name: str) -> None:
    from tuner.errors import InvalidValue
    from workers.training import datasets

    record = {"images": [{"id": 1, "file_name": name}], "annotations": [], "categories": [{"id": 1, "name": "x"}]}
    (root / "boxes.json").write_text(json.dumps(record))
    os.mkdir(root / "images")
    with pytest.raises(InvalidValue, match="names an image outside of the folder of images"):
        datasets.build("coco", path=str(root / "boxes.json"), images=str(root / "images"))
