"""A program for the command executor: what a trial in another language would do, with nothing of ours imported."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys

report = int(os.environ["TUNER_REPORT_FD"])
verdict = int(os.environ["TUNER_VERDICT_FD"])


def send(message: object) -> None:
    os.write(report, (json.dumps(message) + "\n").encode())


what, *rest = sys.argv[1:]
print("argv", *rest)
if what == "complete":
    x = json.loads(os.environ["TUNER_PARAMS"])["x"]
    assert os.environ["TUNER_PARAM_X"] == json.dumps(x)
    for step in range(int(os.environ["TUNER_START_STEP"]), 3):
        send({"report": {"step": step, "values": {"loss": x - step}}})
    send({"tell": {"loss": x}})
elif what == "fail":
    print("cannot open the data", file=sys.stderr)
    sys.exit(4)
elif what == "silent":
    pass
elif what == "garbage":
    os.write(report, b"loss = 3\n")
elif what == "heeds":
    send({"report": {"step": 0, "values": {"loss": 1.0}}})
    select.select([verdict], [], [], 30)
    print("told", os.read(verdict, 100).decode().strip())
elif what == "checkpoint":
    folder = os.path.join(os.environ["TUNER_SCRATCH"], "mine")
    os.makedirs(folder)
    with open(os.path.join(folder, "weights.bin"), "wb") as file:
        file.write(b"abc")
    send({"checkpoint": {"step": 2, "path": folder}})
    send({"tell": {"loss": 0.0}})

elif what == "attrs":
    send({"user_attrs": {"epochs": 3, "note": "a"}})
    send({"user_attrs": {"note": "b"}})
    send({"record": {"data": "v3"}})
    send({"report": {"step": 0, "values": 0.5}})
    send({"tell": 0.25})
elif what == "fails with":
    send({"report": {"step": 0, "values": {"loss": "NaN"}}})
    send({"fail": json.loads(rest[0])})
    sys.exit(3)
elif what == "says":
    os.write(report, rest[0].encode())
    send({"tell": {"loss": 0.0}})
elif what == "environment":
    send({"user_attrs": {name: value for name, value in os.environ.items() if name.startswith("TUNER_")}})
    send({"user_attrs": {"cwd": os.getcwd(), "python": shutil.which("python")}})
    send({"tell": {"loss": 0.0}})
elif what == "children":
    # A child that closes what it inherits, as subprocess does, still reaches the report by its name.
    say = "import json, os; open(os.environ['TUNER_REPORT_FILE'], 'w').write(json.dumps({'tell': {'loss': 5}}))"
    subprocess.run([sys.executable, "-c", say], check=True)
elif what == "leaves":
    child = subprocess.Popen(["sleep", "300"], pass_fds=(report,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    send({"user_attrs": {"child": child.pid}})
    send({"tell": {"loss": 1.0}})
elif what == "ignores":
    child = subprocess.Popen(["sleep", "300"])
    send({"report": {"step": child.pid, "values": {"loss": 1.0}}})
    child.wait()
elif what == "traps":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    send({"report": {"step": 0, "values": {"loss": 1.0}}})
    signal.pause()
elif what == "checkpoint of":
    send({"checkpoint": {"step": 1, "path": rest[0]}})
    send({"tell": {"loss": 0.0}})
