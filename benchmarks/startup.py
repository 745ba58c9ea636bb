"""From nothing to ready, again with 10,000 trials, and what the whole costs when nobody uses it.

python -m benchmarks.startup [--trials 10000] [--idle 30]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import psycopg

from benchmarks.machine import describe, free_port, wait_ready


def start(folder: Path, port: int) -> tuple[subprocess.Popen[bytes], float]:
    """`tuner up` with one worker, and the seconds until it answers /readyz."""
    began = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "tuner.cli.main",
        "up",
        "--port",
        str(port),
        "--data",
        str(folder / "data"),
        "--workers",
        "1",
    ]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_ready(f"http://127.0.0.1:{port}", 60)
    return process, time.monotonic() - began


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(30)


def postgres_of(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "data" / "postgres" / "postmaster.pid").read_text().splitlines()[0]))


def cpu_seconds(roots: list[psutil.Process]) -> float:
    found = {process.pid: process for root in roots for process in [root, *root.children(recursive=True)]}
    return sum(times.user + times.system for times in (process.cpu_times() for process in found.values()))


def main(arguments: list[str] | None = None) -> str:
    """Run the benchmark and return its table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--idle", type=float, default=30.0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="tuner-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        port = free_port()
        process, fresh = start(folder, port)
        time.sleep(10)  # what starting sets off is not idling
        roots = [psutil.Process(process.pid), postgres_of(folder)]
        before = cpu_seconds(roots)
        time.sleep(options.idle)
        idle = 100 * (cpu_seconds(roots) - before) / options.idle
        fill(folder, port, options.trials)
        stop(process)
        process, again = start(folder, port)
        stop(process)
    return "\n".join(
        [
            f"`tuner up` with one worker, {describe()}",
            "",
            "| what | measured |",
            "|---|---|",
            f"| fresh start until /readyz | {fresh:.1f} s |",
            f"| start with a running study of {options.trials} finished trials until /readyz | {again:.1f} s |",
            f"| idle, all processes with PostgreSQL, over {options.idle:g} s | {idle:.2f} % of a core |",
        ]
    )


def fill(folder: Path, port: int, count: int) -> None:
    """A running TPE study with `count` finished trials."""
    from tuner.client import Client

    key = json.loads((folder / "data" / "credentials.json").read_text())["key"]
    space = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
    with Client(f"http://127.0.0.1:{port}", key) as client:
        study = client.create_study(
            {
                "name": "filled",
                "objectives": [{"name": "loss", "direction": "minimize"}],
                "space": space,
                "sampler": {"name": "tpe", "seed": 1},
                "trial": {"executor": "external"},
                "limits": {"max_trials": 1_000_000},
            }
        )
    pid_file = (folder / "data" / "postgres" / "postmaster.pid").read_text().splitlines()
    with psycopg.connect(host=pid_file[4], user="postgres", dbname="tuner") as connection, connection.cursor() as cursor:
        distribution = {"name": "FloatDistribution", "attributes": {"step": None, "low": 0.0, "high": 1.0, "log": False}}
        cursor.executemany(
            "INSERT INTO trials (project, study_id, number, state, origin, params, distributions, objective_values, value,"
            " started_at, finished_at) VALUES ('default', %s, %s, 'COMPLETE', 'added', %s, %s, %s, %s, now(), now())",
            [
                (study.id, number, json.dumps({"x": number / count}), json.dumps({"x": distribution}), f"[{number}]", number)
                for number in range(count)
            ],
        )
        cursor.execute("UPDATE studies SET next_number = %s WHERE id = %s", (count, study.id))


if __name__ == "__main__":
    print(main())
