"""What decides a trial, as a record that a later repetition is held against: its configuration, code, versions and machine.

Collected in the trial's own process, without importing what the trial did not. `workers.training.record` adds what the built-in trainer
alone knows: the merged configuration and the digests of data and weights. Weakness: of an entrypoint's code those files are digested that
were loaded from the folder it was imported from; what was installed beside it is known by its version, data files not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import tuner
from tuner.wire import MAX_RECORD_CHARACTERS, encode_numbers
from workers.pipe import Assignment

FORMAT = 1
LIBRARIES = (
    "numpy", "torch", "pytorch_optimizer", "torchvision", "lightning", "transformers", "datasets", "accelerate", "jax", "tensorflow",
    "sklearn", "scipy", "pandas", "xgboost", "lightgbm",
)  # fmt: skip
"""Whose versions are recorded where the trial's process has loaded them."""
MAX_FILES = 200
MAX_FILE_BYTES = 256_000_000
_INSTALLED = ("site-packages", "dist-packages")
_OURS = ("__main__", "tuner", "workers")
_TAKEN = frozenset({"format", "study", "executor", "params", "seed", "attempt", "resumed_from"})


def begin(assignment: Assignment) -> dict[str, Any]:
    """What is known before the trial runs. A configuration or parameters too large to keep here stand with the study and the trial."""
    leased = assignment.trial
    given = {"config": _configuration(assignment), "params": encode_numbers(leased.params)}
    if len(json.dumps(given)) > MAX_RECORD_CHARACTERS // 2:
        given = {}
    return {
        "format": FORMAT,
        "study": leased.study_digest,
        "executor": leased.executor,
        **given,
        "code": _shipped_code(assignment),
        "seed": leased.seed,
        "attempt": assignment.attempt,
        "resumed_from": assignment.start_step - 1 if assignment.resume_path is not None else None,
        "threads": _environment_threads(),
    }


def complete(begun: Mapping[str, Any], told: Mapping[str, Any], device: str) -> dict[str, Any]:
    """The record as it stands now; `told`, by the trainer or by the user's code, goes before what is collected here.

    ValueError for a name that is not theirs to tell.
    """
    record = {**begun, "versions": versions(), "device": describe_device(device), **_torch_modes()}
    if begun["executor"] == "entrypoint" and begun["code"] is None:
        record["code"] = _imported_code(begun)
    taken = sorted(_TAKEN & told.keys())
    if taken:
        raise ValueError(f"{taken[0]!r} is recorded anyway; choose another name")
    for name, value in encode_numbers(told).items():
        ours = record.get(name)
        record[name] = {**ours, **value} if isinstance(ours, Mapping) and isinstance(value, Mapping) else value
    return {name: value for name, value in record.items() if value is not None}


def versions() -> dict[str, str]:
    """Versions of the interpreter, of tuner, and of well-known libraries as far as they are loaded."""
    found = dict(_fixed_versions())
    for name in LIBRARIES:
        version = getattr(sys.modules.get(name), "__version__", None)
        if version is not None:
            found[name] = str(version)
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.version.cuda is not None:
        found["cuda"] = str(torch.version.cuda)
        found["cudnn"] = str(torch.backends.cudnn.version())
    return found


def describe_device(device: str) -> dict[str, str]:
    """`kind` cpu or cuda, and, as far as torch is loaded, what decides which kernels run: `name` of the model and `capability`."""
    kind = device.partition(":")[0]
    torch: Any = sys.modules.get("torch")
    if kind == "cpu":
        found = {"kind": kind, "name": _cpu_name()}
        return found if torch is None else found | {"capability": str(torch.backends.cpu.get_cpu_capability())}
    # A trial that has not used the GPU shall not open it for the sake of its name.
    if torch is None or not torch.cuda.is_initialized():
        return {"kind": kind}
    major, minor = torch.cuda.get_device_capability(device)
    return {"kind": kind, "name": str(torch.cuda.get_device_name(device)), "capability": f"{major}.{minor}"}


def digest_modules(module: ModuleType) -> dict[str, str]:
    """SHA-256 of each source file loaded so far from the folder that `module` was imported from, by its path there.

    A module's file is read once, when it is first seen here: later the file may say something else than what was imported.
    """
    file = getattr(module, "__file__", None)
    if file is None:
        return {}
    root = Path(file).parents[module.__name__.count(".") + (Path(file).name == "__init__.py")]
    own = module.__name__.partition(".")[0]
    found: dict[str, str] = {}
    for name, loaded in sorted(sys.modules.items()):
        source = getattr(loaded, "__file__", None)
        if not isinstance(source, str) or not source.endswith(".py") or name.partition(".")[0] in _OURS:
            continue
        path = Path(source)
        if not path.is_relative_to(root) or len(found) == MAX_FILES:
            continue
        inside = path.relative_to(root)
        if root.name in _INSTALLED and inside.parts[0].removesuffix(".py") != own:
            continue
        if not set(inside.parts) & set(_INSTALLED):
            found[inside.as_posix()] = _digest_module(loaded, path)
    return found


def digest_files(arguments: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the program of a command line and of those of its arguments that are files."""
    found: dict[str, str] = {}
    for index, argument in enumerate(arguments):
        path = shutil.which(argument) if index == 0 else argument
        if path is None:
            continue
        try:
            status = Path(path).stat()
            if Path(path).is_file() and status.st_size <= MAX_FILE_BYTES:
                found[argument] = _digest_file(path, status.st_mtime_ns, status.st_size)
        except (OSError, ValueError):  # an argument that is no path at all
            continue
    return found


def digest_folder(folder: Path) -> str:
    """One SHA-256 of all Python files below a folder, of their paths and what is in them."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _configuration(assignment: Assignment) -> dict[str, Any] | None:
    """What the study gives the executor besides the parameters; the trainer says its own, merged with them."""
    config = assignment.trial.config
    match assignment.trial.executor:
        case "entrypoint":
            return {"entrypoint": config.get("entrypoint"), "args": encode_numbers(config.get("args") or {})}
        case "command":
            return {"command": config.get("command")}
    return None


def _shipped_code(assignment: Assignment) -> dict[str, str] | None:
    """The bundle that came with the study, else the files of a command."""
    config, executor = assignment.trial.config, assignment.trial.executor
    if executor != "trainer" and config.get("bundle") is not None:
        return {"bundle": str(config["bundle"])}
    return digest_files(config.get("command") or ()) if executor == "command" else None


def _imported_code(begun: Mapping[str, Any]) -> dict[str, str] | None:
    module = sys.modules.get(str((begun.get("config") or {}).get("entrypoint")).partition(":")[0])
    return None if module is None else digest_modules(module)


def _torch_modes() -> dict[str, Any]:
    """Switches of torch that the result depends on, where torch is loaded."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return {}
    return {
        "deterministic": bool(torch.are_deterministic_algorithms_enabled()),
        "matmul_precision": str(torch.get_float32_matmul_precision()),
    }


def _environment_threads() -> int | None:
    """Threads that the libraries below take, as the engine has told them."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isascii() and text.isdigit() else None


_digests: WeakKeyDictionary[ModuleType, str] = WeakKeyDictionary()


def _digest_module(module: ModuleType, path: Path) -> str:
    if module not in _digests:
        try:
            _digests[module] = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            _digests[module] = f"unreadable: {error.strerror}"
    return _digests[module]


@lru_cache(maxsize=256)
def _digest_file(path: str, modified: int, size: int) -> str:
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@lru_cache
def _fixed_versions() -> Mapping[str, str]:
    return {"python": platform.python_version(), "platform": platform.platform(), "tuner": tuner.__version__}


@lru_cache
def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
