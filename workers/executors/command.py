"""Executor `command`: a program in any language, started from an argument list, never through a shell.

The protocol, complete:
* `{name}` in an argument is replaced by the parameter of that name, {number} and {seed} by the trial's; `{{` and `}}` are braces.
* environment: TUNER_PARAMS (JSON object), TUNER_PARAM_<NAME> for each (dots become underscores, capitals), TUNER_TRIAL (number),
  TUNER_SEED, TUNER_DEVICE, TUNER_START_STEP, TUNER_SCRATCH, TUNER_RESUME_PATH (folder; only when there is a checkpoint).
* the program writes JSON lines to the file descriptor TUNER_REPORT_FD:
  {"report": {"step": 3, "values": {"val_loss": 0.2}}}, {"checkpoint": {"step": 3, "path": "folder"}},
  {"tell": {"val_loss": 0.2}} (the final values; the last one counts).
* a verdict other than "continue" arrives as one line (prune, pause or stop) on TUNER_VERDICT_FD. The program then saves a
  checkpoint if it can and exits with 0. One that has not exited GRACE seconds later is sent SIGTERM.
  (Weakness: a process the program leaves behind with TUNER_REPORT_FD open keeps the trial running until its timeout.)
* exit code 0 with a tell: COMPLETE; 0 without, after a verdict: that verdict; any other exit: FAIL with the last lines of stderr.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tuner.errors import InvalidValue
from tuner.wire import Scalar, Verdict
from workers.executors import allows_command
from workers.pipe import Assignment
from workers.report import Refused, Trial

GRACE = 10.0
PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


class CommandFailed(Exception):
    """The program exited with another code than 0, or wrote what is not the protocol."""


def execute(assignment: Assignment, trial: Trial) -> object:
    template = assignment.trial.config.get("command") or []
    if not template or not all(isinstance(item, str) for item in template):
        raise Refused("command: a list of texts is needed, the program first.")
    program = template[0]
    if not allows_command(program, assignment.allow):
        raise Refused(
            f"This worker may not run the command {program!r}; its operator can allow it with --allow 'command:{program}'."
        )
    params = {"number": trial.number, "seed": trial.seed, **trial.params}
    arguments = [program, *(fill(item, params) for item in template[1:])]
    return Command(arguments, assignment, trial).run()


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
    """One run of the program: its three streams and its end."""

    def __init__(self, arguments: list[str], assignment: Assignment, trial: Trial) -> None:
        self._arguments = arguments
        self._assignment = assignment
        self._trial = trial
        self._stderr: deque[str] = deque(maxlen=30)
        self._told: dict[str, float] | None = None
        self._verdict = str(Verdict.CONTINUE)
        self._forwarding = threading.Lock()
        self._closed = False

    def run(self) -> object:
        report_read, report_write = os.pipe()
        verdict_read, verdict_write = os.pipe()
        environment = os.environ | self._environment(report_write, verdict_read)
        try:
            try:
                process = subprocess.Popen(
                    self._arguments,
                    env=environment,
                    pass_fds=(report_write, verdict_read),
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                )
            except OSError as error:
                os.close(report_read)
                raise CommandFailed(f"{self._arguments[0]}: {error.strerror or error}") from error
            finally:
                os.close(report_write)
                os.close(verdict_read)
            echo = threading.Thread(target=self._echo, args=(process,), daemon=True)
            echo.start()
            self._trial.on_verdict = lambda verdict: self._forward(verdict, verdict_write, process)
            if self._trial.verdict != Verdict.CONTINUE:
                self._forward(self._trial.verdict, verdict_write, process)
            try:
                with open(report_read, encoding="utf-8", errors="replace") as lines:
                    for line in lines:
                        self._take(line)
            except BaseException:
                process.kill()
                raise
            finally:
                code = process.wait()
                echo.join(timeout=1.0)  # a grandchild may hold stderr open for ever
        finally:
            self._trial.on_verdict = None
            with self._forwarding:
                self._closed = True
                os.close(verdict_write)
        return self._conclude(code)

    def _conclude(self, code: int) -> object:
        heeded = self._verdict != Verdict.CONTINUE and self._trial.should_stop
        if heeded and code in (0, -signal.SIGTERM):
            return None if self._told is None else self._told
        if code != 0:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
            raise CommandFailed("\n".join([f"The command {how}.", *self._stderr]))
        if self._told is None:
            raise CommandFailed('The command exited with code 0 but wrote no {"tell": {...}} line to TUNER_REPORT_FD.')
        return self._told

    def _take(self, line: str) -> None:
        if not line.strip():
            return
        try:
            message = json.loads(line)
            if "report" in message:
                self._trial.report(message["report"]["step"], message["report"]["values"])
            elif "tell" in message:
                self._told = {str(name): float(value) for name, value in message["tell"].items()}
            elif "checkpoint" in message:
                self._checkpoint(Path(message["checkpoint"]["path"]), int(message["checkpoint"]["step"]))
            else:
                raise ValueError("unknown kind")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise CommandFailed(
                'A line on TUNER_REPORT_FD is none of {"report": {"step", "values"}}, {"checkpoint": {"step", "path"}}, '
                f'{{"tell": {{...}}}}: {line.strip()[:200]}'
            ) from None

    def _checkpoint(self, path: Path, step: int) -> None:
        """The program goes on writing where it likes, so the agent gets a copy."""
        copy = self._trial.checkpoint_folder(step)
        shutil.copytree(path, copy)
        self._trial.send_checkpoint(copy, step)

    def _forward(self, verdict: Verdict, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        with self._forwarding:
            if self._closed or self._verdict != Verdict.CONTINUE:
                return
            self._verdict = verdict
            with suppress(OSError):  # the program may have closed its end; SIGTERM still reaches it
                os.write(descriptor, f"{verdict}\n".encode())
        timer = threading.Timer(GRACE, process.terminate)
        timer.daemon = True
        timer.start()

    def _echo(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        for raw in process.stderr:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            self._stderr.append(line[:500])
            sys.stderr.write(line + "\n")

    def _environment(self, report_descriptor: int, verdict_descriptor: int) -> dict[str, str]:
        trial = self._trial
        environment = {
            "TUNER_PARAMS": json.dumps(trial.params),
            "TUNER_TRIAL": str(trial.number),
            "TUNER_SEED": str(trial.seed),
            "TUNER_DEVICE": trial.device,
            "TUNER_START_STEP": str(trial.start_step),
            "TUNER_SCRATCH": str(self._assignment.scratch),
            "TUNER_REPORT_FD": str(report_descriptor),
            "TUNER_VERDICT_FD": str(verdict_descriptor),
        }
        for name, value in trial.params.items():
            key = "TUNER_PARAM_" + re.sub(r"\W", "_", name, flags=re.ASCII).upper()
            environment[key] = value if isinstance(value, str) else json.dumps(value)
        if trial.resume_path is not None:
            environment["TUNER_RESUME_PATH"] = str(trial.resume_path)
        return environment
