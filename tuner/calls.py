"""The REST API as Python: one method a call, taking and returning the bodies of `tuner.wire`.

Errors of the server arrive as the classes of `tuner.errors`. What happens on the wire is in `tuner.connection`, what a person works with
in `tuner.client` and `tuner.handles`. May be used from many threads.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter

from tuner import wire
from tuner.connection import Connection
from tuner.errors import InvalidValue, NotFound
from tuner.packing import MAX_PACKED
from tuner.results import AdviceList, Comparison, Importance

if TYPE_CHECKING:
    from tuner.spec import StudySpec

CHUNK = 1 << 20
CHECKPOINT_WAIT = 300.0
"""Seconds to wait for the first byte of a checkpoint: the server reads it through before it sends it."""

_trials = TypeAdapter(list[wire.Trial])
_reports = TypeAdapter(list[wire.ReportItem])
_attempts = TypeAdapter(list[wire.Attempt])
_checkpoints = TypeAdapter(list[wire.Checkpoint])
_workers = TypeAdapter(list[wire.Worker])
_keys = TypeAdapter(list[wire.Key])


Item_co = TypeVar("Item_co", covariant=True)


class Page(Protocol[Item_co]):
    """A page of a listing, whatever its items are."""

    @property
    def items(self) -> Sequence[Item_co]: ...
    @property
    def next_cursor(self) -> str | None: ...


def iterate(read: Callable[[str | None], Page[Item_co]]) -> Iterator[Item_co]:
    """All items of a listing, whose page behind a cursor `read` gets; no page is asked for before it is needed."""
    cursor: str | None = None
    while True:
        page = read(cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


class Calls:
    """The calls of one server; a study is given by its name or id."""

    def __init__(self, connection: Connection, *, patience: float) -> None:
        """`patience`: seconds for which a request is repeated while the server does not answer."""
        self._connection = connection
        self._patience = patience

    @property
    def server(self) -> str:
        return self._connection.server

    def with_patience(self, patience: float) -> Self:
        """The same over the same connections, but giving up after `patience` seconds; 0 tries once."""
        other = copy.copy(self)
        other._patience = patience
        return other

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # --- studies -----------------------------------------------------------------------------------------------------------

    def submit_study(self, spec: StudySpec | Mapping[str, Any]) -> tuple[wire.Study, bool]:
        """The study, and whether it is new."""
        body = dict(spec) if isinstance(spec, Mapping) else spec.to_json()
        response = self._send("POST", "/v1/studies", _json(body))
        return wire.Study.model_validate_json(response.content), response.status_code == 201

    def get_study(self, study: str | int) -> wire.Study:
        return wire.Study.model_validate_json(self._get(_study(study)).content)

    def list_studies(
        self, *, state: str | None = None, q: str | None = None, cursor: str | None = None, limit: int | None = None
    ) -> wire.StudyPage:
        response = self._get("/v1/studies", state=state, q=q, cursor=cursor, limit=limit)
        return wire.StudyPage.model_validate_json(response.content)

    def update_study(self, study: str | int, patch: wire.StudyPatch) -> wire.Study:
        response = self._send("PATCH", _study(study), patch.model_dump_json(exclude_unset=True).encode())
        return wire.Study.model_validate_json(response.content)

    def delete_study(self, study: str | int) -> None:
        self._send("DELETE", _study(study))

    def pause_study(self, study: str | int) -> wire.Study:
        return self._move(study, "pause")

    def resume_study(self, study: str | int) -> wire.Study:
        return self._move(study, "resume")

    def stop_study(self, study: str | int) -> wire.Study:
        """Let running trials end, then end the study."""
        return self._move(study, "stop")

    def cancel_study(self, study: str | int) -> wire.Study:
        """End the study and its running trials now."""
        return self._move(study, "cancel")

    def best(self, study: str | int, *, top: int | None = None) -> list[wire.Trial]:
        """The best trial, or the `top` best; with several objectives those that no other dominates."""
        return _trials.validate_python(_items(self._get(f"{_study(study)}/best", top=top)))

    def pareto(self, study: str | int) -> list[wire.Trial]:
        return _trials.validate_python(_items(self._get(f"{_study(study)}/pareto")))

    def importance(self, study: str | int, *, objective: str | None = None, method: str | None = None) -> Importance:
        """How much each parameter matters; `method` ped_anova or fanova."""
        response = self._get(f"{_study(study)}/importance", objective=objective, method=method)
        return Importance.model_validate_json(response.content)

    def compare(self, study: str | int, *, by: str | None = None, metric: str | None = None) -> Comparison:
        """The levels of a parameter held against each other; without `by` those that the study compares."""
        return Comparison.model_validate_json(self._get(f"{_study(study)}/compare", by=by, metric=metric).content)

    def compare_studies(self, studies: Sequence[str | int], *, metric: str | None = None) -> Comparison:
        """Whole studies held against each other."""
        names = ",".join(str(study) for study in studies)
        return Comparison.model_validate_json(self._get("/v1/compare", studies=names, metric=metric).content)

    def advice(self, study: str | int) -> AdviceList:
        """The best configuration with its uncertainty, and what to try next."""
        return AdviceList.model_validate_json(self._get(f"{_study(study)}/advice").content)

    def columns(self, study: str | int, *, since: int | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = self._get(f"{_study(study)}/columns", since=since).json()
        return answer

    def export(self, study: str | int, format: str, target: BinaryIO) -> None:
        """Write all trials to `target` as csv, json, jsonl or parquet."""
        self._download(f"{_study(study)}/export", target, format=format)

    # --- trials ------------------------------------------------------------------------------------------------------------

    def list_trials(
        self,
        study: str | int,
        *,
        state: str | None = None,
        sort: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
        filter: str | None = None,
    ) -> wire.TrialPage:
        """One page. `filter` such as "state:complete lr<1e-3"; `sort` a name of that language, `-` in front for descending."""
        response = self._get(f"{_study(study)}/trials", state=state, sort=sort, cursor=cursor, limit=limit, filter=filter)
        return wire.TrialPage.model_validate_json(response.content)

    def create_trial(self, study: str | int, trial: wire.TrialCreate) -> wire.Trial:
        """Enqueue a configuration, or add a trial finished elsewhere."""
        return wire.Trial.model_validate_json(self._send("POST", f"{_study(study)}/trials", _body(trial)).content)

    def get_trial(self, trial: int) -> wire.Trial:
        return wire.Trial.model_validate_json(self._get(f"/v1/trials/{trial}").content)

    def get_trial_by_number(self, study: str | int, number: int) -> wire.Trial:
        return wire.Trial.model_validate_json(self._get(f"{_study(study)}/trials/{number}").content)

    def list_reports(self, trial: int) -> list[wire.ReportItem]:
        return _reports.validate_python(_items(self._get(f"/v1/trials/{trial}/reports")))

    def list_attempts(self, trial: int) -> list[wire.Attempt]:
        return _attempts.validate_python(_items(self._get(f"/v1/trials/{trial}/attempts")))

    def list_checkpoints(self, trial: int) -> list[wire.Checkpoint]:
        return _checkpoints.validate_python(_items(self._get(f"/v1/trials/{trial}/checkpoints")))

    def list_logs(
        self, trial: int, *, cursor: str | None = None, limit: int | None = None, tail: int | None = None
    ) -> wire.LogPage:
        found = self._get(f"/v1/trials/{trial}/logs", cursor=cursor, limit=limit, tail=tail)
        return wire.LogPage.model_validate_json(found.content)

    def cancel_trial(self, trial: int) -> wire.Trial:
        return wire.Trial.model_validate_json(self._send("POST", f"/v1/trials/{trial}/cancel").content)

    def retry_trial(self, trial: int) -> wire.Trial:
        """A new trial with the same parameters."""
        return wire.Trial.model_validate_json(self._send("POST", f"/v1/trials/{trial}/retry").content)

    # --- leases ------------------------------------------------------------------------------------------------------------

    def lease(self, request: wire.LeaseRequest, *, request_key: str | None = None) -> list[wire.Lease]:
        """Take up to `request.count` trials of any study; empty when none came within `request.wait` seconds."""
        response = self._send("POST", "/v1/leases", _body(request), wait=request.wait, request_key=request_key)
        return [] if response.status_code == 204 else wire.Leases.model_validate_json(response.content).leases

    def ask_leases(self, study: str | int, request: wire.AskRequest, *, request_key: str | None = None) -> list[wire.Lease]:
        """Take trials of one study; StudyNotRunning once it has ended."""
        response = self._send("POST", f"{_study(study)}/ask", _body(request), wait=request.wait, request_key=request_key)
        return [] if response.status_code == 204 else wire.Leases.model_validate_json(response.content).leases

    def renew(self, lease: str) -> wire.VerdictAnswer:
        return wire.VerdictAnswer.model_validate_json(self._send("POST", f"/v1/leases/{lease}/renew").content)

    def report(self, lease: str, reports: Sequence[wire.Report], *, wait: float = 0.0) -> wire.VerdictAnswer:
        """Store reports and renew the lease; with `wait` the verdict comes once the search has judged these reports."""
        body = wire.Reports(reports=list(reports), wait=wait)
        return wire.VerdictAnswer.model_validate_json(
            self._send("POST", f"/v1/leases/{lease}/reports", _body(body), wait=wait).content
        )

    def tell(self, lease: str, tell: wire.Tell) -> wire.TellAnswer:
        """Finish the trial (WAITING: hand it back). Telling the same again gives the same answer."""
        following = tell.lease_next
        wait = 30.0 if isinstance(following, bool) else following.wait
        return wire.TellAnswer.model_validate_json(self._send("POST", f"/v1/leases/{lease}/tell", _body(tell), wait=wait).content)

    def upload_checkpoint(self, lease: str, step: int, stream: BinaryIO, *, sha256: str | None = None) -> wire.Checkpoint:
        """Upload the rest of a seekable stream; the digest is computed (reading it once more) unless given."""
        if sha256 is None:
            start = stream.tell()
            digest = hashlib.sha256()
            for chunk in _chunks(stream):
                digest.update(chunk)
            sha256 = digest.hexdigest()
            stream.seek(start)
        response = self._upload(f"/v1/leases/{lease}/checkpoints/{step}", stream, sha256)
        return wire.Checkpoint.model_validate_json(response.content)

    def download_checkpoint(self, path: str, target: BinaryIO) -> int:
        """Write the checkpoint at `path` (a lease's `resume.checkpoint`) to `target`; the step after which it was saved.

        That is an earlier step than the lease says where the newest checkpoint is damaged on the server. InvalidValue when what came is
        not what was sent.
        """
        digest, headers = self._download(path, target, wait=CHECKPOINT_WAIT)
        sent = headers.get("X-Content-SHA256", "")
        if digest != sent:
            raise InvalidValue(f"the checkpoint {path} arrived damaged: its SHA-256 is {digest}, not {sent}")
        return int(headers["X-Checkpoint-Step"])

    def upload_bundle(self, sha256: str, stream: BinaryIO) -> bool:
        """Upload the rest of a seekable stream, an archive of this SHA-256; False when the server has it already."""
        path = f"/v1/bundles/{sha256}"
        try:
            self._connection.request("HEAD", path, patience=self._patience)
        except NotFound:
            self._upload(path, stream, sha256)
            return True
        return False

    def download_bundle(self, sha256: str, target: BinaryIO) -> None:
        """Write a bundle to `target`. InvalidValue when what came is not what its name says, or more than a bundle may be."""
        digest, _ = self._download(f"/v1/bundles/{sha256}", target, max_bytes=MAX_PACKED)
        if digest != sha256:
            raise InvalidValue(f"the bundle {sha256} arrived damaged: its SHA-256 is {digest}")

    def append_logs(self, lease: str, lines: Sequence[wire.LogText]) -> None:
        self._send("POST", f"/v1/leases/{lease}/logs", _body(wire.LogLines(lines=list(lines))))

    # --- workers, keys, server ---------------------------------------------------------------------------------------------

    def register_worker(self, registration: wire.WorkerRegistration) -> wire.Worker:
        return wire.Worker.model_validate_json(self._send("POST", "/v1/workers", _body(registration)).content)

    def list_workers(self) -> list[wire.Worker]:
        return _workers.validate_python(_items(self._get("/v1/workers")))

    def get_worker(self, worker: int) -> wire.Worker:
        return wire.Worker.model_validate_json(self._get(f"/v1/workers/{worker}").content)

    def create_key(self, key: wire.KeyCreate) -> wire.CreatedKey:
        return wire.CreatedKey.model_validate_json(self._send("POST", "/v1/keys", _body(key)).content)

    def list_keys(self) -> list[wire.Key]:
        return _keys.validate_python(_items(self._get("/v1/keys")))

    def revoke_key(self, key_id: str) -> None:
        self._send("DELETE", f"/v1/keys/{quote(key_id, safe='')}")

    def whoami(self) -> dict[str, Any]:
        """Who the key says is calling: name, scope, project."""
        answer: dict[str, Any] = self._get("/v1/me").json()
        return answer

    def catalog(self) -> dict[str, Any]:
        answer: dict[str, Any] = self._get("/v1/catalog").json()
        return answer

    # --- requests ----------------------------------------------------------------------------------------------------------

    def _get(self, path: str, **params: Any) -> httpx.Response:
        return self._connection.request("GET", path, patience=self._patience, params=params)

    def _send(
        self, method: str, path: str, body: bytes | None = None, *, wait: float = 0.0, request_key: str | None = None
    ) -> httpx.Response:
        return self._connection.request(method, path, patience=self._patience, content=body, wait=wait, request_key=request_key)

    def _move(self, study: str | int, verb: str) -> wire.Study:
        return wire.Study.model_validate_json(self._send("POST", f"{_study(study)}/{verb}").content)

    def _upload(self, path: str, stream: BinaryIO, sha256: str) -> httpx.Response:
        """PUT the rest of a seekable stream, from there anew at each try."""
        start = stream.tell()
        size = stream.seek(0, 2) - start

        def content() -> Iterator[bytes]:
            stream.seek(start)
            return _chunks(stream)

        headers = {"Content-Type": "application/octet-stream", "X-Content-SHA256": sha256, "Content-Length": str(size)}
        return self._connection.request("PUT", path, patience=self._patience, content=content, headers=headers, wait=120)

    def _download(
        self, path: str, target: BinaryIO, *, max_bytes: float = math.inf, wait: float = 0.0, **params: Any
    ) -> tuple[str, httpx.Headers]:
        """Write the answer to `target` and return its SHA-256 and its headers. InvalidValue beyond `max_bytes`."""
        digest = hashlib.sha256()
        size = 0
        headers = httpx.Headers()

        def receive(response: httpx.Response) -> None:
            headers.update(response.headers)
            nonlocal size
            for chunk in response.iter_bytes(CHUNK):
                size += len(chunk)
                if size > max_bytes:
                    raise InvalidValue(f"{path}: more than {max_bytes:,} bytes came")
                digest.update(chunk)
                target.write(chunk)

        self._connection.request("GET", path, patience=self._patience, params=params, wait=wait, receive=receive)
        return digest.hexdigest(), headers


def _study(study: str | int) -> str:
    return f"/v1/studies/{quote(str(study), safe='')}"


def _body(model: wire.Body) -> bytes:
    return model.model_dump_json(exclude_defaults=True).encode()


def _json(value: Mapping[str, Any]) -> bytes:
    return TypeAdapter(dict[str, Any]).dump_json(wire.encode_numbers(dict(value)))


def _items(response: httpx.Response) -> Any:
    """The list of an answer, bare or under `items`."""
    answer = response.json()
    return answer["items"] if isinstance(answer, dict) else answer


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk
