"""Rules of the house that no general linter knows: who may import whom, what the deployment files say, which files stand where."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
LEAVES = (
    "tuner",
    "tuner.catalog",
    "tuner.constraints",
    "tuner.errors",
    "tuner.feasibility",
    "tuner.levels",
    "tuner.outcome_constraints",
    "tuner.packing",
    "tuner.parameters",
    "tuner.populations",
    "tuner.racing",
    "tuner.results",
    "tuner.settings",
    "tuner.space",
    "tuner.space_reader",
    "tuner.spec",
    "tuner.spec_errors",
    "tuner.spec_file",
    "tuner.spec_model",
    "tuner.strategies",
    "tuner.strategy_spec",
    "tuner.wire",
)
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "misc"}


def modules(*packages: str) -> list[tuple[str, Path]]:
    return [
        (".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path)
        for package in packages
        for path in sorted((ROOT / package).rglob("*.py"))
    ]


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Absolute names of the modules that a file imports, `from tuner import x` as tuner.x where that is a module."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = ROOT.joinpath(*node.module.split("."), alias.name)
                found.add(f"{node.module}.{alias.name}" if inner.is_dir() or inner.with_suffix(".py").exists() else node.module)
    return found


def is_in(module: str, packages: tuple[str, ...] | set[str]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def is_leaf(module: str) -> bool:
    return module in LEAVES or module.startswith("tuner.catalog.")


def ours(path: Path) -> set[str]:
    return {name for name in imports(path) if is_in(name, ("tuner", "api", "workers", "migrations"))}


@pytest.mark.parametrize("module, path", [item for item in modules("tuner") if is_leaf(item[0])])
def test_leaves_import_leaves(module: str, path: Path) -> None:
    assert all(is_leaf(name) for name in ours(path))
    third_party = {name.split(".")[0] for name in imports(path)} & {
        "sqlalchemy",
        "optuna",
        "torch",
        "fastapi",
        "httpx",
        "numpy",
        "psycopg",
    }
    assert not third_party


@pytest.mark.parametrize("module, path", modules("tuner"))
def test_tuner_imports_downwards(module: str, path: Path) -> None:
    names = imports(path)
    if not module.startswith("tuner.cli."):
        assert not {name for name in names if is_in(name, ("api", "workers"))}
    assert not {name for name in names if is_in(name, ("fastapi", "starlette", "uvicorn"))}
    if module != "tuner.search.gp":  # Optuna's Gaussian process computes with torch
        assert not {name for name in names if is_in(name, ("torch",))}
    if not is_in(
        module, ("tuner.search", "tuner.optuna_storage", "tuner.optuna_trials", "tuner.optuna_feasibility", "tuner.imports")
    ):
        assert not {name for name in names if is_in(name, ("optuna",))}
    if module.startswith("tuner.db"):
        assert all(is_leaf(name) or name.startswith(("tuner.db", "migrations")) for name in ours(path))
    sdk = ("tuner.client", "tuner.calls", "tuner.connection", "tuner.handles", "tuner.progress")
    if module in sdk:
        allowed = sdk
        assert all(is_leaf(name) or name in allowed for name in ours(path))
        assert not {name for name in names if is_in(name, ("sqlalchemy", "psycopg", "optuna", "torch"))}


@pytest.mark.parametrize("module, path", modules("tuner/cli"))
def test_commands_import_servers_only_when_they_start_them(module: str, path: Path) -> None:
    heavy = ("api", "workers", "tuner.db", "tuner.search", "tuner.keys", "sqlalchemy", "optuna", "torch", "psycopg", "fastapi")
    assert not {name for name in imports(path, top_level_only=True) if is_in(name, heavy)}


@pytest.mark.parametrize("module, path", modules("api"))
def test_api_imports_tuner_only(module: str, path: Path) -> None:
    names = imports(path)
    assert not {name for name in names if is_in(name, ("workers", "optuna", "torch", "tuner.client", "tuner.cli"))}


@pytest.mark.parametrize("module, path", modules("workers"))
def test_workers_know_neither_sql_nor_optuna(module: str, path: Path) -> None:
    names = imports(path)
    assert not {
        name for name in names if is_in(name, ("api", "sqlalchemy", "psycopg", "optuna", "tuner.db", "tuner.search", "fastapi"))
    }
    allowed = ("tuner.client", "tuner.connection", "tuner.handles", "workers")
    assert all(is_leaf(name) or is_in(name, allowed) for name in ours(path))
    if not module.startswith("workers.training"):
        assert not {name for name in imports(path, top_level_only=True) if is_in(name, ("torch", "workers.training"))}


def test_no_cycles() -> None:
    graph = {module: {name for name in ours(path) if name != module} for module, path in modules("tuner", "api", "workers")}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for name in graph.get(module, ()):
                visit(name, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("module, path", modules("tuner", "api", "workers", "migrations"))
def test_modules_are_named_and_introduced(module: str, path: Path) -> None:
    assert not set(module.split(".")) & FORBIDDEN_NAMES
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} needs a docstring that says what it holds"


@pytest.mark.parametrize("module, path", modules("tuner", "api", "workers"))
def test_nothing_dangerous(module: str, path: Path) -> None:
    """No unpickling, no evaluation of text, no shell: what a study or a checkpoint holds stays data."""
    tree = ast.parse(path.read_text())
    assert not {name.split(".")[0] for name in imports(path)} & {"pickle", "dill", "cloudpickle", "shelve", "marshal"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called == "yaml.load" and module == "tuner.spec_file":  # with a loader derived from SafeLoader
                assert "(yaml.SafeLoader)" in path.read_text()
                continue
            assert called not in ("eval", "exec", "yaml.load", "torch.load", "joblib.load", "os.system"), f"{path}:{node.lineno}"
            assert not any(keyword.arg == "shell" and ast.unparse(keyword.value) == "True" for keyword in node.keywords)


def test_compose_file_starts_every_part() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    services = compose["services"]
    assert set(services) == {"postgres", "migrate", "server", "search", "worker", "worker-gpu"}
    assert int(services["postgres"]["image"].partition(":")[2]) >= 17
    for name in ("server", "search", "migrate"):
        assert services[name]["environment"]["TUNER_DATABASE_URL"].startswith("postgresql://")
    assert services["server"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert services["server"]["ports"] == ["127.0.0.1:8000:8000"]
    assert services["worker-gpu"]["profiles"] == ["gpu"]
    for name in ("migrate", "server", "search", "worker"):
        subcommand = services[name]["command"][0]
        assert (ROOT / "tuner" / "cli" / f"{subcommand}.py").exists() or subcommand == "migrate"


def test_dockerfile_copies_what_it_installs() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = set(re.findall(r"[\w./]+", " ".join(line for line in text.splitlines() if line.startswith("COPY"))))
    project = (ROOT / "pyproject.toml").read_text()
    packages = re.search(r"packages = \[(.*)\]", project)
    assert packages is not None
    assert set(re.findall(r'"(\w+)"', packages[1])) <= copied
    assert "USER tuner" in text


def test_constraints_hold_torch() -> None:
    assert "torch==" in (ROOT / "constraints.txt").read_text()
    assert not re.search(r'"torch==', (ROOT / "pyproject.toml").read_text())
