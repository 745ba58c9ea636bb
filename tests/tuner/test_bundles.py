"""Bundles: stored once by their hash, named by studies, leased to workers that take them, gone when nobody names them."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from sqlalchemy import text

from tests.tuner.specs import external
from tests.tuner.test_maintenance import wait_until_blocked
from tuner import bundles, leases, maintenance, studies, trials
from tuner.bundles import BundleStore
from tuner.db.postgres import Database
from tuner.errors import BundleNotFound, InvalidSpec, InvalidValue, Unavailable
from tuner.settings import Settings
from tuner.spec import StudySpec
from tuner.stores import Store, open_store
from tuner.wire import LeaseRequest, TrialCreate

CODE = b"code of a study"
NAME = sha256(CODE).hexdigest()


@pytest.fixture
def files(tmp_path: Path) -> Store:
    return open_store(tmp_path)


@pytest.fixture
def store(files: Store) -> BundleStore:
    return BundleStore(files, Settings(max_bundle_bytes=1_000))


def spec(bundle: str | None = NAME, name: str = "s") -> StudySpec:
    trial: dict[str, Any] = {"executor": "entrypoint", "entrypoint": "train:run"}
    return external(name=name, trial=trial if bundle is None else trial | {"bundle": bundle})


def content(store: BundleStore, database: Database, project: str = "default") -> bytes:
    bundle, file = store.open(database, project, NAME)
    try:
        found = file.read(10_000)
    finally:
        file.close()
    assert bundle.size == len(found)
    return found


def make_old(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE bundles SET created_at = created_at - interval '2 days'"))


def age_files(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))


def test_a_bundle_is_stored_once_and_read_whole(database: Database, store: BundleStore, files: Store) -> None:
    first = store.receive(database, "default", NAME, iter([CODE[:4], CODE[4:]]))
    assert (first.sha256, first.size) == (NAME, len(CODE))
    assert store.receive(database, "default", NAME, iter([CODE])).sha256 == NAME
    assert content(store, database) == CODE
    assert len(list(files.list())) == 1


@pytest.mark.parametrize(
    ("name", "chunks", "words"),
    [
        ("x", [CODE], "sha256: must be the SHA-256 of the body"),
        (NAME.upper(), [CODE], "sha256: must be"),
        ("../" + NAME[3:], [CODE], "sha256: must be"),
        (NAME, [CODE, b"!"], "the body's SHA-256 is"),
        (NAME, [], "the body's SHA-256 is"),
        (NAME, [bytes(600), bytes(600)], "larger than the 1000 bytes"),
    ],
)
def test_what_is_not_what_its_name_says_is_not_kept(
    database: Database, store: BundleStore, files: Store, name: str, chunks: list[bytes], words: str
) -> None:
    with pytest.raises(InvalidValue, match=words):
        store.receive(database, "default", name, iter(chunks))
    assert list(files.list()) == []
    with pytest.raises(BundleNotFound):
        store.open(database, "default", name)


def test_a_project_has_its_own(database: Database, store: BundleStore) -> None:
    with database.begin() as connection:
        connection.execute(text("INSERT INTO projects (name) VALUES ('other')"))
    store.receive(database, "default", NAME, iter([CODE]))
    with pytest.raises(BundleNotFound):
        store.open(database, "other", NAME)
    with pytest.raises(InvalidSpec, match=r"trial\.bundle: no bundle"):
        studies.create(database, "other", spec())
    store.receive(database, "other", NAME, iter([CODE]))
    make_old(database)
    studies.create(database, "default", spec())
    assert store.expire(database) == 1
    assert content(store, database) == CODE


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"other")])
def test_a_bundle_whose_file_is_gone_can_be_sent_again(
    database: Database, store: BundleStore, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    store.receive(database, "default", NAME, iter([CODE]))
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    damage(file)
    with pytest.raises(BundleNotFound, match="missing or damaged; submit its study again with --context"):
        store.open(database, "default", NAME)
    store.receive(database, "default", NAME, iter([CODE]))
    assert content(store, database) == CODE


def test_a_study_names_a_bundle_that_is_there(database: Database, store: BundleStore) -> None:
    with pytest.raises(InvalidSpec, match=rf"^trial\.bundle: no bundle {NAME[:12]}\.\.\. has been uploaded .*--context DIR"):
        studies.create(database, "default", spec())
    store.receive(database, "default", NAME, iter([CODE]))
    study, created = studies.create(database, "default", spec())
    assert created
    assert study.spec["trial"]["bundle"] == NAME
    assert studies.create(database, "default", spec())[1] is False


@pytest.mark.parametrize("executor", ["trainer", "external"])
def test_only_code_of_ones_own_comes_in_a_bundle(executor: str) -> None:
    trial: dict[str, Any] = {"executor": executor, "bundle": NAME}
    if executor == "trainer":
        trial["trainer"] = {"dataset": {"name": "iris"}, "model": {"name": "mlp"}}
    with pytest.raises(InvalidSpec, match=r"trial\.bundle: is only allowed with executor: entrypoint or command, not with"):
        external(trial=trial)


@pytest.mark.parametrize("bundle", ["x", NAME[:-1], NAME.upper(), NAME + "0", "../" + NAME[3:], 3])
def test_what_is_no_name_of_a_bundle(bundle: Any) -> None:
    with pytest.raises(InvalidSpec, match=r"trial\.bundle: .*64 lower-case hex digits"):
        spec(bundle)


def test_trials_with_a_bundle_go_to_workers_that_take_them(database: Database, store: BundleStore) -> None:
    store.receive(database, "default", NAME, iter([CODE]))
    studies.create(database, "default", spec())
    trials.create(database, "default", "s", TrialCreate(params={"x": 0.5}))
    asked: dict[str, Any] = {"executors": ["entrypoint"], "wait": 0}
    assert leases.take(database, "default", LeaseRequest(**asked)) == []
    assert leases.take(database, "default", LeaseRequest(wait=0)) == []
    assert leases.register_demand(database, "default", LeaseRequest(**asked)) is None
    assert leases.register_demand(database, "default", LeaseRequest(**asked, bundles=True)) is not None
    (lease,) = leases.take(database, "default", LeaseRequest(**asked, bundles=True))
    assert lease.trial.config["bundle"] == NAME
    studies.create(database, "default", spec(None, name="without"))
    trials.create(database, "default", "without", TrialCreate(params={"x": 0.5}))
    assert [taken.trial.study for taken in leases.take(database, "default", LeaseRequest(**asked))] == ["without"]


def test_a_bundle_goes_when_no_study_names_it_any_more(database: Database, store: BundleStore, files: Store) -> None:
    store.receive(database, "default", NAME, iter([CODE]))
    assert store.expire(database) == 0, "it is young"
    studies.create(database, "default", spec())
    make_old(database)
    assert store.expire(database) == 0, "a study names it"
    studies.delete(database, "default", "s")
    assert store.expire(database) == 1
    assert list(files.list()) == []
    with pytest.raises(BundleNotFound):
        store.open(database, "default", NAME)
    store.receive(database, "default", NAME, iter([CODE]))
    make_old(database)
    store.receive(database, "default", NAME, iter([CODE]))
    assert store.expire(database) == 0, "it has just come again"


def test_what_a_cut_off_upload_has_left_goes(database: Database, store: BundleStore, files: Store, tmp_path: Path) -> None:
    store.receive(database, "default", NAME, iter([CODE]))
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    for name in (file.with_name(f"{file.name}.0123.part"), file.with_name(f"{'a' * 64}.tar.gz"), tmp_path / "aa.tar"):
        name.write_bytes(b"")
    assert store.expire(database) == 0
    age_files(tmp_path)
    assert store.expire(database) == 2
    assert sorted(files.list()) == ["aa.tar", file.relative_to(tmp_path).as_posix()]


def test_a_study_that_is_being_made_keeps_its_bundle(database: Database, store: BundleStore) -> None:
    store.receive(database, "default", NAME, iter([CODE]))
    make_old(database)
    with ThreadPoolExecutor(1) as pool:
        with database.begin() as connection:
            studies._require_bundle(connection, "default", NAME)
            removing = pool.submit(store.expire, database)
            wait_until_blocked(database)
            connection.execute(text("INSERT INTO studies (project, name, bundle) VALUES ('default', 's', :name)"), {"name": NAME})
        assert removing.result(timeout=10) == 0
    assert content(store, database) == CODE


def test_a_bundle_that_is_removed_while_it_comes_is_asked_for_again(database: Database, store: BundleStore, files: Store) -> None:
    """The file is written before its row: in between it has none, and may be swept."""
    with ThreadPoolExecutor(1) as pool:
        with database.begin() as connection:
            connection.execute(
                text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": bundles._name("default", NAME)}
            )
            coming = pool.submit(store.receive, database, "default", NAME, iter([CODE]))
            wait_until_blocked(database)
            files.delete(files.list())
        with pytest.raises(Unavailable, match="send it again"):
            coming.result(timeout=10)
    with pytest.raises(BundleNotFound):
        store.open(database, "default", NAME)
    store.receive(database, "default", NAME, iter([CODE]))
    assert content(store, database) == CODE


def test_a_server_removes_them_by_itself(database: Database, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, artifacts=str(tmp_path))
    store = BundleStore(open_store(tmp_path), settings)
    store.receive(database, "default", NAME, iter([CODE]))
    make_old(database)
    service = maintenance.Maintenance(database, settings)
    service.start()
    try:
        deadline = monotonic() + 20
        while any(path.is_file() for path in tmp_path.rglob("*")):
            assert monotonic() < deadline, "it is still there"
            sleep(0.02)
    finally:
        service.stop()
