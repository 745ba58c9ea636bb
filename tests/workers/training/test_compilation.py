"""Compiled models train as plain ones; what compiling needs and leaves behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workers.training import compilation


def test_a_folder_of_compiled_code_lives_as_long_as_its_process(tmp_path: Path) -> None:
    mine = compilation.make_folder(tmp_path)
    code = (
        f"from workers.training import compilation as c; from pathlib import Path; print(c.make_folder(Path({str(tmp_path)!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    theirs = Path(done.stdout.strip())
    assert theirs.exists()  # its process has ended, and nobody has looked since
    third = compilation.make_folder(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([mine, third])


COMPILED = """
import sys
from tests.workers.training.handles import RecordingTrial
from workers.training import loop
from workers.training.failures import TrainingFailed
config = {"dataset": {"name": "xor"}, "model": {"name": "mlp", "hidden": [4]}, "epochs": 3, "batch_size": 4096, "ema": 0.5}
try:
    for i in range(2):
        compiled = loop.train(config | {"compile": True}, RecordingTrial())
except TrainingFailed as error:
    sys.exit(f"{error.reason}: {error}")
plain = loop.train(config, RecordingTrial())
for name in ("train_loss", "val_loss", "grad_norm"):
    assert abs(compiled[name] - plain[name]) <= 1e-5 * abs(plain[name]), (name, compiled, plain)
print("as plain")
"""


def run_compiled(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: what torch compiles stays with a process, and its warnings are not ours."""
    kept = {name: value for name, value in os.environ.items() if name != compilation.FOLDER}
    environment = {**kept, "TMPDIR": str(folder), **environment}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMPILED],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU: install g++")
def test_a_compiled_model_trains_as_a_plain_one(tmp_path: Path) -> None:
    done = run_compiled(tmp_path)
    assert done.stdout == "as plain\n", done.stderr
    (own,) = tmp_path.glob(f"{compilation.PREFIX}*")
    assert list(own.rglob("*.so"))


@pytest.mark.slow
def test_without_a_compiler_a_compiled_trial_ends_with_one_sentence(tmp_path: Path) -> None:
    done = run_compiled(tmp_path, PATH=str(tmp_path))
    assert done.stderr.splitlines()[-1] == (
        "exception: compile: this worker has no C++ compiler; install g++, or set compile to false"
    )
