"""How a worker says no: one exception, for what its operator has not allowed. A trial that meets it fails with reason refused."""

from __future__ import annotations

from tuner.wire import Reason


class Refused(Exception):
    """This worker's operator has not allowed what the study asks to run or to read. The message is one sentence for people."""

    reason = Reason.REFUSED
