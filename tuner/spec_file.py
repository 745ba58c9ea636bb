"""Reading a study file or text, YAML or JSON, into plain data; what the data mean is left to `tuner.spec`.

Stricter than the formats: a key given twice is refused, where both would silently take the last. And YAML numbers are read as of
YAML 1.2, so that 1e-5 is a number and not a text. A text from elsewhere may hold no aliases, a few lines of which
stand for gigabytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuner.errors import FieldError, InvalidSpec
from tuner.parameters import show

MAX_BYTES = 1_000_000
MAX_CHARACTERS = 100_000
"""Of a text from elsewhere: PyYAML takes some 10 microseconds a character."""
MAX_DEPTH = 50
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+")


def read_spec_file(path: Path) -> Any:
    """The data of a file, JSON where its name ends so. InvalidSpec with one sentence where it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _refused(path, "there is no such file") from None
    except (OSError, ValueError) as error:
        raise _refused(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MAX_BYTES:
        raise _refused(path, f"is larger than the {MAX_BYTES} bytes a study file may have")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(path, f"is not UTF-8 text (byte {error.start})") from None
    try:
        return _read(text, _read_json if path.suffix.lower() == ".json" else _read_yaml)
    except ValueError as error:
        raise _refused(path, str(error)) from None


def read_spec_text(text: str) -> dict[str, Any]:
    """The data of a text in YAML or JSON, which is nearly YAML. InvalidSpec, located nowhere, where it cannot be read."""
    try:
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"is longer than the {MAX_CHARACTERS} characters a text may have")
        _refuse_bombs(text)
        return _read(text, _read_yaml)
    except ValueError as error:
        raise InvalidSpec(errors=[FieldError("", f"the text {error}")]) from None


def find_line(text: str, loc: str) -> int | None:
    """The line, from 1, on which the field at `loc` (`space.optimizer.lr.low`) begins, or the innermost part of it that is there."""
    import yaml

    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return None
    line = None
    while loc and node is not None:
        found = _step(node, loc)
        if found is None:
            break
        line, node, loc = found
    return line


def _step(node: Any, loc: str) -> tuple[int, Any, str] | None:
    """One step down a path: its line, the node there and the rest of the path. Keys have dots in them; the longest that fits wins."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        keys = {key.value: (key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)}
        fitting = [name for name in keys if loc == name or loc.startswith(name + ".")]
        if fitting:
            name = max(fitting, key=len)
            key, value = keys[name]
            return key.start_mark.line + 1, value, loc[len(name) + 1 :]
    if isinstance(node, yaml.SequenceNode):
        head, _, rest = loc.partition(".")
        if head.isdecimal() and int(head) < len(node.value):
            item = node.value[int(head)]
            return item.start_mark.line + 1, item, rest
    return None


def _read(text: str, read: Callable[[str], Any]) -> dict[str, Any]:
    """ValueError with the rest of a sentence that begins with the file's name."""
    try:
        data = read(text)
    except RecursionError:
        raise ValueError("is nested far too deep") from None
    except ValueError as error:
        raise ValueError(str(error).partition(";")[0]) from None  # Python's own add advice to programmers
    if not isinstance(data, dict):
        kind = "is empty" if data is None else f"holds {'a list' if isinstance(data, list) else show(data)}"
        raise ValueError(f"{kind}; a study file is a mapping with at least objectives and space")
    return data


def _refuse_bombs(text: str) -> None:
    """ValueError for what takes more than its length to read: aliases, and depth, in which PyYAML is quadratic."""
    import yaml

    depth = 0
    try:
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise ValueError("is nested far too deep")
            if isinstance(event, yaml.AliasEvent):
                line = "" if event.start_mark is None else f" in line {event.start_mark.line + 1}"
                raise ValueError(f"has an alias (*){line}: write the part out")
    except yaml.YAMLError:
        return  # reading it will say what is wrong


def _read_json(text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in pairs:
            if key in mapping:
                raise ValueError(f"the key {show(key)} is given twice in one mapping")
            mapping[key] = value
        return mapping

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None


def _read_yaml(text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
            # While composing: constructing mixes merged keys (<<) among those of the mapping.
            node = super().compose_mapping_node(anchor)
            seen: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen:
                        raise yaml.MarkedYAMLError(
                            problem=f"the key {show(key.value)} is given twice", problem_mark=key.start_mark
                        )
                    seen.add(key.value)
            return node

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"^{_FLOAT.pattern}$"), list("-+.0123456789"))
    try:
        return yaml.load(text, Loader)  # noqa: S506  (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise ValueError(f"is not YAML: {error.problem or error.context}{where}") from None
    except yaml.reader.ReaderError as error:
        raise ValueError(f"is not YAML: {error.reason} at character {error.position + 1}") from None


def _refused(path: Path, msg: str) -> InvalidSpec:
    return InvalidSpec(errors=[FieldError("", f"{path}: {msg}")])
