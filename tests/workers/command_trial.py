"""A program for the command executor: what a trial in another language would do, with nothing of ours imported."""

import json
import os
import select
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
