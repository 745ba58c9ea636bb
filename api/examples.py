"""One example body a route, shown in the API's description; a test sends each to a server."""

from __future__ import annotations

from typing import Any

EXAMPLES: dict[str, dict[str, Any]] = {
    "create_study": {
        "name": "first",
        "objectives": [{"name": "score", "direction": "maximize"}],
        "space": {
            "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
            "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
        },
        "sampler": {"name": "tpe", "seed": 7},
        "pruner": {"name": "none"},
        "trial": {"executor": "external"},
        "limits": {"max_trials": 50},
        "tags": ["example"],
    },
    "check_spec": {"text": "objectives: [{name: score, direction: maximize}]\nspace: {x: {type: float, low: 0, high: 1}}\n"},
    "update_study": {"limits": {"max_trials": 100}, "tags": ["example", "longer"], "notes": "twice as many"},
    "create_trial": {"params": {"lr": 0.01, "optimizer": "adam"}},
    "ask": {"count": 1, "wait": 10, "ttl": 60},
    "take_leases": {"worker": "host-1", "count": 1, "wait": 30, "resources": {"gpus": 1, "cpus": 4}},
    "append_reports": {"reports": [{"step": 0, "values": {"score": 0.5}}], "wait": 0},
    "tell": {"state": "COMPLETE", "values": {"score": 0.93}, "lease_next": False},
    "append_logs": {"lines": [{"stream": "stdout", "text": "epoch 0: 0.5"}]},
    "register_worker": {
        "name": "host-1",
        "host": "host-1.example",
        "slots": 2,
        "gpus": ["NVIDIA H100"],
        "cpus": 16,
        "memory": 137438953472,
    },
    "create_key": {"name": "laptop", "scope": "submitter", "project": "default", "expires_in": 2592000},
    "open_session": {"code": "the one-time code of POST /v1/sessions/codes"},
}
