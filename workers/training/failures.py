"""How a training ends other than well: one exception with the reason the trial is told with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tuner.errors import InvalidValue


class TrainingFailed(Exception):
    """`reason` is one of the trial reasons (nan, oom_cuda, oom_host, exception); the message is one sentence for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@contextmanager
def named() -> Iterator[None]:
    """Turn what a configuration or a lack of memory makes of a training into TrainingFailed, with its reason and one sentence."""
    try:
        yield
    except InvalidValue as error:
        # Its message is made for people; without a traceback around it they can read it.
        raise TrainingFailed("exception", str(error)) from error
    except torch.cuda.OutOfMemoryError as error:
        raise TrainingFailed("oom_cuda", f"the GPU's memory was not enough: {_first_line(error)}") from error
    except MemoryError as error:
        raise TrainingFailed("oom_host", "the host's memory was not enough") from error
    except RuntimeError as error:
        # The CPU allocator has no exception class of its own.
        if "can't allocate memory" in str(error) or "not enough memory" in str(error):
            raise TrainingFailed("oom_host", f"the host's memory was not enough: {_first_line(error)}") from error
        raise


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:300]
