"""The worker agent of one host: registers it, runs one loop a slot, renews all its leases, watches its trials, drains on a signal.

Heartbeats come from this process, training happens in others, so a step however long does not lose its lease. The agent never ends for
a network error. It imports no torch and stays small.
"""

from __future__ import annotations

import ctypes
import logging
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import tuner
from tuner.client import Client
from tuner.errors import Conflict, Denied, Invalid, NotFound, TunerError
from tuner.wire import WorkerRegistration
from workers import usage
from workers.bundles import BundleCache
from workers.engines import Place
from workers.engines.local import LocalPlace
from workers.holding import Holdings
from workers.roots import DataRoots
from workers.runner import RunnerOptions, SlotRunner
from workers.slots import Host, find_host, make_slots

log = logging.getLogger("tuner.worker")

PR_SET_DUMPABLE = 4
WATCH_INTERVAL = 0.25
DRAIN_TIMEOUT = 30.0
TELL_TIMEOUT = 10.0
REGISTER_INTERVAL = 2.0
USAGE_INTERVAL = 15.0
RENEW_RETRY = 1.0
MAX_RENEWERS = 8
DRAIN_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, kw_only=True)
class AgentOptions:
    """What an operator decides about a worker. `gpus`: all, none or indices; `ttl`: seconds a lease lives, None: the server's.

    `allow` are patterns of entrypoints and commands, `allow_bundles` whether their code may come with a study. Data sets are read below
    `data_roots` (none: no files), but for `closed_folders`.
    """

    server: str | None = None
    key: str | None = None
    name: str | None = None
    gpus: str = "all"
    slots: int | None = None
    cpus: float | None = None
    allow: tuple[str, ...] = ()
    allow_bundles: bool = False
    data_roots: tuple[Path, ...] = ()
    closed_folders: tuple[Path, ...] = ()
    scratch: Path | None = None
    ttl: float | None = None
    warm: bool = True
    drain_timeout: float = DRAIN_TIMEOUT


def run(options: AgentOptions) -> int:
    """Work until a signal, then drain: trials checkpoint and are handed back as preempted. A second signal: at once. The exit code.

    Raises what cannot be mended by waiting: Denied (a wrong key), Invalid (options).
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s worker: %(message)s", datefmt="%H:%M:%S"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
    hide_memory()
    agent = Agent(options)
    with _signals(agent):
        return agent.run()


def hide_memory() -> None:
    """Linux: keep trials, which run as the same user, from reading the key out of this process's environment and memory in /proc.

    What lies in files they can still read: a worker that runs code it does not trust is a user of its own, and its key in the environment.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)


class Agent:
    """One host's agent; `run` blocks, `drain` may be called from any thread or signal handler."""

    def __init__(self, options: AgentOptions) -> None:
        self._options = options
        self._host = find_host(options.gpus)
        self._slots = make_slots(self._host, gpus=options.gpus, slots=options.slots, cpus=options.cpus)
        self._name = options.name or socket.gethostname()
        self._client = Client(options.server, options.key)
        self._waker = Waker()
        self._holdings = Holdings(self._waker.wake)
        self._draining = threading.Event()
        self._giving_up = threading.Event()
        self._stopped = threading.Event()
        self._num_drains = 0

    def drain(self) -> None:
        """Ask the agent to leave; the second time: at once."""
        self._num_drains += 1
        self._waker.wake()

    def run(self) -> int:
        if self._options.scratch is not None:
            self._options.scratch.mkdir(parents=True, exist_ok=True)
        # Absolute: code that comes with a study runs in a folder of its own.
        scratch = Path(tempfile.mkdtemp(prefix="tuner-worker-", dir=self._options.scratch)).absolute()
        bundles = BundleCache(scratch / "bundles") if self._options.allow_bundles else None
        places: list[Place] = []
        try:
            if not self._register():
                return 0
            options = RunnerOptions(
                worker=self._name,
                allow=self._options.allow,
                bundles=bundles,
                data=DataRoots(
                    folders=tuple(folder.absolute() for folder in self._options.data_roots),
                    closed=tuple(folder.absolute() for folder in self._options.closed_folders),
                ),
                scratch=scratch,
                ttl=self._options.ttl,
                warm=self._options.warm,
            )
            runners: list[SlotRunner] = []
            for slot in self._slots:
                place: Place = LocalPlace(slot)
                places.append(place)
                runners.append(
                    SlotRunner(
                        slot, place, self._client, self._holdings, options,
                        draining=self._draining, giving_up=self._giving_up, on_idle=self._waker.wake,
                    )
                )  # fmt: skip
            for index in range(min(len(runners), MAX_RENEWERS)):
                threading.Thread(target=self._renew, name=f"renew-{index}", daemon=True).start()
            threading.Thread(target=self._tell_usage, name="usage", daemon=True).start()
            for index, runner in enumerate(runners):
                threading.Thread(target=runner.run, name=f"slot-{index}", daemon=True).start()
            self._watch(runners)
            return 0
        finally:
            self._stopped.set()
            self._holdings.close()
            for place in places:
                place.close()
            if bundles is not None:
                bundles.close()
            shutil.rmtree(scratch, ignore_errors=True)
            self._client.close()

    def _tell_usage(self) -> None:
        """Say every while what the machine is doing. A server that does not answer, or does not know the field, costs only this."""
        client = self._client.with_patience(0)
        uses_gpus = self._slots[0].gpu is not None
        registration = _registration(self._name, self._host, len(self._slots), uses_gpus)
        usage.measure(gpus=False)  # from here on the use of the CPUs is counted
        while not self._stopped.wait(USAGE_INTERVAL):
            try:
                client.register_worker(registration.model_copy(update={"usage": usage.measure(gpus=uses_gpus)}))
            except Exception as error:  # for people to look at; training goes on without
                log.debug("usage not told: %s", error)

    def _register(self) -> bool:
        """Make the host known, waiting for the server as long as it takes; False when told to leave meanwhile."""
        registration = _registration(self._name, self._host, len(self._slots), self._slots[0].gpu is not None)
        client = self._client.with_patience(0)
        complained = False
        while not self._num_drains:
            try:
                client.register_worker(registration)
            except (Denied, Invalid):
                raise
            except TunerError as error:
                if not complained:
                    log.warning("waiting for the server: %s", error)
                complained = True
                self._waker.wait(REGISTER_INTERVAL)
                continue
            log.info("%s: %d slots (%s), server %s", self._name, len(self._slots), _describe(self._host), self._client.server)
            return True
        return False

    def _watch(self, runners: list[SlotRunner]) -> None:
        """The main thread: fences, time limits, draining."""
        handled = 0
        deadline = float("inf")
        while True:
            held = self._holdings.list_()
            now = time.monotonic()
            if self._num_drains > handled:
                handled = self._num_drains
                self._draining.set()
                patience = self._options.drain_timeout if handled == 1 else 0.0
                deadline = now + patience + TELL_TIMEOUT
                if held:
                    log.info("leaving: %d trials are asked for a checkpoint and handed back", len(held))
                for each in held:
                    each.preempt(now + patience)
            for each in held:
                each.watch()
            if handled and not held and all(runner.is_idle for runner in runners):
                return
            if now > deadline:
                log.warning("leaving without having told %d trials: the server does not answer", len(held))
                self._giving_up.set()
                return
            self._waker.wait(WATCH_INTERVAL if held or handled else None)

    def _renew(self) -> None:
        """The heartbeat. Several threads do this, so that one request that hangs does not cost the other leases."""
        client = self._client.with_patience(0)
        while True:
            with self._holdings.next_to_renew() as held:
                if held is None:
                    return
                sent_at = time.monotonic()
                try:
                    answer = client.renew(held.lease.id)
                except (Conflict, NotFound, Denied) as error:
                    held.lose(str(error))
                except Exception as error:  # nothing may end the heartbeats
                    log.warning("%s: not renewed: %s", held.name, error)
                    held.renew_at = time.monotonic() + min(RENEW_RETRY, held.lease.ttl / 10)
                else:
                    held.acknowledge(sent_at, answer.verdict)


class Waker:
    """Lets one thread sleep until another, or a signal handler, wakes it. A pipe, since an Event may not be set by a handler."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def wake(self) -> None:
        with suppress(BlockingIOError):  # full: it is awake anyway
            os.write(self._write, b".")

    def wait(self, timeout: float | None) -> None:
        if select.select([self._read], [], [], timeout)[0]:
            with suppress(BlockingIOError):
                os.read(self._read, 65536)


@contextmanager
def _signals(agent: Agent) -> Iterator[None]:
    def handle(number: int, frame: FrameType | None) -> None:
        agent.drain()

    before = {number: signal.signal(number, handle) for number in DRAIN_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _registration(name: str, host: Host, slots: int, uses_gpus: bool) -> WorkerRegistration:
    return WorkerRegistration(
        name=name,
        host=socket.gethostname(),
        version=tuner.__version__,
        slots=slots,
        gpus=list(host.gpu_names) if uses_gpus else [],
        cpus=host.cpus,
        memory=host.memory,
    )


def _describe(host: Host) -> str:
    return ", ".join(host.gpu_names) if host.gpu_names else "no GPU"
