"""Study files: what YAML may say, and one sentence for each that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tuner.errors import InvalidSpec
from tuner.spec import StudySpec

YAML = """
name: from-yaml
objectives: [{name: loss, direction: minimize}]
space:
  lr: {type: float, low: 1e-5, high: 1, log: true}   # a text in YAML 1.1
  n: &int {type: int, low: 1, high: 4}
  m: {<<: *int, high: 8}
sampler: {name: tpe, seed: 7}
"""


def read(tmp_path: Path, content: str | bytes, name: str = "study.yaml") -> StudySpec:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return StudySpec.from_file(path)


def test_reads_yaml(tmp_path: Path) -> None:
    spec = read(tmp_path, YAML)
    assert spec.to_json()["space"]["lr"]["low"] == 1e-5
    assert spec.to_json()["space"]["m"]["high"] == 8
    assert read(tmp_path, b"\xef\xbb\xbf" + YAML.encode()) == spec
    assert read(tmp_path, json.dumps(spec.to_json()), "study.json") == spec
    assert StudySpec.from_file(str(tmp_path / "study.json")) == spec


def test_a_mapping_merged_into_another_may_be_overridden_wherever_it_stands(tmp_path: Path) -> None:
    text = "a: &a {x: 1}\nd: {e: {b: &b {<<: *a, x: 2}}}\nc: {<<: *b}\n"
    with pytest.raises(InvalidSpec) as caught:
        read(tmp_path, text)
    assert "twice" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.yaml", "a: 1\nb: [\n", "is not YAML: expected the node content, but found '<stream end>' in line 3, column 1"),
        ("a.yaml", "a: 1\n\tb: 2\n", "in line 2"),
        ("a.yaml", "space: {}\nname: x\nspace: {}\n", "is not YAML: the key 'space' is given twice in line 3, column 1"),
        ("a.yaml", "space:\n  x: {}\n  'x': {}\n", "the key 'x' is given twice in line 3, column 3"),
        ("a.yaml", "a: 1\n---\nb: 2\n", "another document in line 2"),
        ("a.yaml", "a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a.yaml", "a: {[1]: 2}", "unhashable key in line 1"),
        ("a.yaml", "a: 2020-99-99", "month must be"),
        ("a.yaml", "a: \x07", "special characters are not allowed at character 4"),
        ("a.yaml", "[" * 50_000, "nested far too deep"),
        ("a.yaml", "a: " + "9" * 5000, "4300 digits"),
        ("a.yaml", "", "is empty"),
        ("a.yaml", "- 1", "holds a list"),
        ("a.yaml", "just text", "holds 'just text'"),
        ("a.yaml", b"\xff\xfe", "is not UTF-8 text (byte 0)"),
        ("a.yaml", b"#" * 1_000_001, "larger than the 1000000 bytes"),
        ("a.json", '{"a": 1,}', "is not JSON"),
        ("a.json", '{"a":\n 1, "a": 2}', "the key 'a' is given twice"),
        ("a.json", "[" * 200_000, "nested far too deep"),
        ("a.json", '{"a": ' + "9" * 5000 + "}", "4300 digits"),
        ("a.json", "", "is not JSON"),
        ("a.json", "[]", "holds a list"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, name: str, content: str | bytes, says: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        read(tmp_path, content, name)
    (error,) = caught.value.errors
    assert error.loc == ""
    assert error.msg.startswith(f"{tmp_path / name}: ")
    assert says in error.msg
    assert "\n" not in error.msg


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="there is no such file"):
        StudySpec.from_file(tmp_path / "nothing.yaml")
    with pytest.raises(InvalidSpec, match="cannot be read: Is a directory"):
        StudySpec.from_file(tmp_path)


def test_values_yaml_has_and_json_has_not(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec) as caught:
        read(tmp_path, YAML + "notes: 2020-01-01\n1: x\ntags: [.nan]\n")
    found = {error.loc: error.msg for error in caught.value.errors}
    assert set(found) == {"notes", "1", "tags.0"}
    assert "in quotes" in found["notes"]
