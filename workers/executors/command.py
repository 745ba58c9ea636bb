"""Executor `command`: a program in any language, started from an argument list, never through a shell.

The protocol, complete, with examples: docs/command.md. Here are its two ends: what the program is told (its arguments, its
environment, a verdict) and what it writes (JSON lines). A trial ends when the program does; what the program left running is not waited
for. Weakness: a report gets no answer of its own, so a program that runs faster than the network hears of its pruning late.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil

from tuner.errors import InvalidValue
from tuner.wire import Reason, Scalar, Verdict
from workers.engines.local import count_oom_kills
from workers.errors import Refused
from workers.executors import allows_command
from workers.pipe import Assignment, LineBuffer
from workers.report import Trial

GRACE = 10.0
"""Seconds a program has to end after a verdict, before it is sent SIGTERM."""
TERMINATED = (-signal.SIGTERM, 128 + signal.SIGTERM)
MAX_LINE = 1_000_000
PIPE_CAPACITY = 1 << 20
PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
FAILURES = (Reason.EXCEPTION, Reason.NAN, Reason.OOM_CUDA, Reason.OOM_HOST)
"""Reasons that a program may fail with."""
MESSAGES = (
    '{"report": {"step", "values"}}, {"checkpoint": {"step", "path"}}, {"user_attrs": {...}}, {"record": {...}}, '
    '{"tell": {...}}, {"fail": {"reason", "error"}}'
)


class CommandFailed(Exception):
    """The program said that it failed, exited with another code than 0, or wrote what is not the protocol."""

    def __init__(self, message: str, reason: str = Reason.EXCEPTION) -> None:
        super().__init__(message)
        self.reason = reason


def check_allowed(config: Mapping[str, Any], allow: Iterable[str]) -> None:
    """Refused unless the operator of this worker has allowed the program."""
    template = config.get("command") or []
    if not template or not all(isinstance(item, str) for item in template):
        raise Refused("command: a list of texts is needed, the program first.")
    if not allows_command(template[0], allow):
        raise Refused(
            f"This worker may not run the command {template[0]!r}; its operator can allow it with --allow 'command:{template[0]}'."
        )


def execute(assignment: Assignment, trial: Trial) -> object:
    program, *rest = assignment.trial.config["command"]
    params = {"number": trial.number, "seed": trial.seed, **trial.params}
    return Command([program, *(fill(item, params) for item in rest)], assignment, trial).run()


def fill(argument: str, params: Mapping[str, Scalar]) -> str:
    """Put parameters into one argument. InvalidValue names a placeholder that is no parameter of this trial."""

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return match.group(0)[0]
        if name not in params:
            raise InvalidValue(f"command: {{{name}}} is no parameter of this trial; it has {', '.join(params) or 'none'}")
        value = params[name]
        return str(value) if isinstance(value, str) else json.dumps(value)

    return PLACEHOLDER.sub(replace, argument)


class Command:
    """One run of the program: what it is told, what it says, its end."""

    def __init__(self, arguments: list[str], assignment: Assignment, trial: Trial) -> None:
        self._arguments = arguments
        self._assignment = assignment
        self._trial = trial
        # Paths are the program's, and so relative to its folder.
        self._cwd = Path.cwd() if assignment.bundle is None else assignment.bundle
        self._folder = Path(tempfile.mkdtemp(prefix="command-", dir=assignment.scratch)).resolve()
        self._stderr: deque[str] = deque(maxlen=30)
        self._told: float | dict[str, float] | None = None
        self._failed: CommandFailed | None = None
        self._verdict = Verdict.CONTINUE
        self._verdict_file = self._folder / "verdict"
        self._verdict_write = -1
        self._forwarding = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def run(self) -> object:
        report_file = self._folder / "report"
        os.mkfifo(report_file, 0o600)
        oom_kills = count_oom_kills()
        with ExitStack() as descriptors:

            def opened(descriptor: int) -> int:
                descriptors.callback(os.close, descriptor)
                return descriptor

            # Held open here, the reports have no end before the program's; it may open the file as often as it likes.
            report_read = opened(os.open(report_file, os.O_RDONLY | os.O_NONBLOCK))
            report_write = opened(os.open(report_file, os.O_WRONLY))
            verdict_read, self._verdict_write = map(opened, os.pipe())
            descriptors.callback(self._close)
            environment = self._environment() | {
                "TUNER_REPORT_FD": str(report_write),
                "TUNER_REPORT_FILE": str(report_file),
                "TUNER_VERDICT_FD": str(verdict_read),
                "TUNER_VERDICT_FILE": str(self._verdict_file),
            }
            self._trial.on_verdict = self._forward
            self._forward(self._trial.verdict)
            process = self._process = self._start(environment, (report_write, verdict_read))
            echo = threading.Thread(target=self._echo, args=(process,), daemon=True)
            echo.start()
            try:
                self._listen(report_read, process)
            except BaseException:
                _signal_tree(process, signal.SIGKILL)
                raise
            finally:
                code = process.wait()
                echo.join(timeout=1.0)  # a grandchild may hold stderr open for ever
        return self._conclude(code, oom=code == -signal.SIGKILL and count_oom_kills() > oom_kills)

    def _close(self) -> None:
        """From now on verdicts are the trial object's alone."""
        self._trial.on_verdict = None
        with self._forwarding:
            self._closed = True

    def _start(self, environment: Mapping[str, str], descriptors: tuple[int, ...]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self._arguments,
                cwd=self._cwd,
                env=environment,
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise CommandFailed(f"{self._arguments[0]}: {error.strerror or error}") from error

    def _conclude(self, code: int, *, oom: bool) -> object:
        if self._failed is not None:
            raise self._failed
        heeded = self._verdict != Verdict.CONTINUE and self._trial.should_stop
        if heeded and code in (0, *TERMINATED):
            return self._told
        if code != 0:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
            how += ": the host's memory was not enough" if oom else ""
            raise CommandFailed("\n".join([f"The command {how}.", *self._stderr]), Reason.OOM_HOST if oom else Reason.EXCEPTION)
        if self._told is None:
            raise CommandFailed('The command exited with code 0 but wrote no {"tell": {...}} line to TUNER_REPORT_FD.')
        return self._told

    # --- what the program says ------------------------------------------------------------------------------------------------

    def _listen(self, reports: int, process: subprocess.Popen[bytes]) -> None:
        """Take lines until the program has ended and what it wrote has been read."""
        ended, ending = os.pipe()

        def wait() -> None:
            process.wait()
            os.close(ending)

        threading.Thread(target=wait, name="command", daemon=True).start()
        lines = LineBuffer(MAX_LINE, strict=True)
        with open(ended, "rb"), selectors.DefaultSelector() as selector:
            selector.register(reports, selectors.EVENT_READ)
            selector.register(ended, selectors.EVENT_READ)
            while ended not in {key.fd for key, _ in selector.select()}:
                self._read(reports, lines)
        # No more than a pipe holds: what the program has left running may go on writing.
        for _ in range(PIPE_CAPACITY // 65536):
            if not self._read(reports, lines):
                break
        for line in lines.flush():
            self._take(line)

    def _read(self, reports: int, lines: LineBuffer) -> bool:
        try:
            data = os.read(reports, 65536)
        except BlockingIOError:
            return False
        try:
            complete = lines.feed(data)
        except ValueError as error:
            raise CommandFailed(f"The command wrote {error} to TUNER_REPORT_FD.") from None
        for line in complete:
            self._take(line)
        return bool(data)

    def _take(self, raw: bytes) -> None:
        line = raw.decode("utf-8", "replace").strip()
        if not line:
            return
        try:
            ((kind, content),) = json.loads(line).items()
            if kind == "report":
                self._trial.report(content["step"], content["values"])
            elif kind == "checkpoint":
                self._checkpoint(self._cwd / str(content["path"]), int(content["step"]))
            elif kind == "user_attrs":
                self._trial.user_attrs |= dict(content)
            elif kind == "record":
                self._trial.record |= dict(content)
            elif kind == "tell":
                self._told = _values(content)
            elif kind == "fail":
                self._failed = _failure(content)
            else:
                raise ValueError("unknown kind")
        except InvalidValue as error:
            raise CommandFailed(str(error)) from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise CommandFailed(f"A line on TUNER_REPORT_FD is none of {MESSAGES}: {line[:200]}") from None

    def _checkpoint(self, path: Path, step: int) -> None:
        """Hand the program's folder or file on. What lies in the trial's scratch folder is taken from there, in one move."""
        path, scratch = path.resolve(), self._assignment.scratch.resolve()
        if scratch.is_relative_to(path) or self._folder.is_relative_to(path):
            raise CommandFailed(f"checkpoint: {path} holds more than the checkpoint; give it a folder or file of its own.")
        target = self._trial.checkpoint_folder(step)
        try:
            is_folder = path.is_dir()
            if not is_folder:
                target.mkdir()
            if path.is_relative_to(scratch):
                path.rename(target if is_folder else target / path.name)
            elif is_folder:
                shutil.copytree(path, target)
            else:
                shutil.copy2(path, target)
        except (OSError, shutil.Error) as error:
            raise CommandFailed(f"checkpoint: {path} cannot be taken: {getattr(error, 'strerror', None) or error}") from error
        self._trial.send_checkpoint(target, step)

    def _echo(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for raw in lines:
                line = raw.decode("utf-8", "replace").rstrip("\n")
                self._stderr.append(line[:500])
                sys.stderr.write(line + "\n")

    # --- what the program is told ---------------------------------------------------------------------------------------------

    def _forward(self, verdict: Verdict) -> None:
        """Tell the program the first verdict other than to continue, which stands."""
        with self._forwarding:
            if self._closed or verdict == Verdict.CONTINUE or self._verdict != Verdict.CONTINUE:
                return
            self._verdict = verdict
            with suppress(OSError):  # the disk may be full; SIGTERM still reaches the program
                partial = self._verdict_file.with_suffix(".part")
                partial.write_text(f"{verdict}\n")
                partial.rename(self._verdict_file)
            os.write(self._verdict_write, f"{verdict}\n".encode())
        timer = threading.Timer(GRACE, self._terminate)
        timer.daemon = True
        timer.start()

    def _terminate(self) -> None:
        if self._process is not None:
            _signal_tree(self._process, signal.SIGTERM)

    def _environment(self) -> dict[str, str]:
        trial, assignment = self._trial, self._assignment
        environment = dict(os.environ) | {
            # A command's python is the worker's, with its packages.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "PYTHONUNBUFFERED": "1",  # what it prints is seen while it runs
            "TUNER_PARAMS": json.dumps(trial.params),
            "TUNER_STUDY": trial.study,
            "TUNER_TRIAL": str(trial.number),
            "TUNER_ATTEMPT": str(trial.attempt),
            "TUNER_SEED": str(trial.seed),
            "TUNER_DEVICE": trial.device,
            "TUNER_START_STEP": str(trial.start_step),
            "TUNER_SCRATCH": str(assignment.scratch),
        }
        for name, value in trial.params.items():
            key = "TUNER_PARAM_" + re.sub(r"\W", "_", name, flags=re.ASCII).upper()
            environment[key] = value if isinstance(value, str) else json.dumps(value)
        if trial.resume_path is not None:
            environment |= {"TUNER_RESUME_PATH": str(trial.resume_path), "TUNER_INHERITS": "1" if trial.inherits else "0"}
        if assignment.bundle is not None:
            # Its folder is shared and stays as it is.
            environment |= {"TUNER_BUNDLE": str(assignment.bundle), "PYTHONDONTWRITEBYTECODE": "1"}
        return environment


def _values(content: Any) -> float | dict[str, float]:
    if isinstance(content, Mapping):
        return {str(name): float(value) for name, value in content.items()}
    return float(content)


def _failure(content: Any) -> CommandFailed:
    reason = str(content.get("reason", Reason.EXCEPTION))
    if reason not in FAILURES:
        raise CommandFailed(f"fail: the reason {reason!r} is not one of {', '.join(FAILURES)}.")
    return CommandFailed(str(content.get("error") or "The command said that it failed."), reason)


def _signal_tree(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the program and to all that it has started: a shell passes no signal on."""
    if process.poll() is not None:
        return
    with suppress(psutil.Error):
        program = psutil.Process(process.pid)
        for each in (program, *program.children(recursive=True)):
            with suppress(psutil.Error):
                each.send_signal(number)
