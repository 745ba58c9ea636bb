"""How a training ends other than well: one exception with the reason the trial is told with."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tuner.errors import InvalidValue
from tuner.wire import Reason

NO_GPU_MEMORY = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""What CUDA and its libraries say where torch's own allocator is not asked."""
NO_HOST_MEMORY = ("can't allocate memory", "not enough memory")
"""The CPU allocator has no exception class of its own."""
NOT_REPEATABLE = "does not have a deterministic implementation"
ONE_SAMPLE = "Expected more than 1 value per channel"
NO_COMPILER = "No working C++ compiler"


class TrainingFailed(Exception):
    """`reason` is one of the trial reasons (nan, oom_cuda, oom_host, exception); the message is one sentence for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@contextmanager
def named() -> Iterator[None]:
    """Turn whatever ends a training into TrainingFailed, with its reason and one sentence.

    Of what is not foreseen the traceback goes to standard error, which is the trial's log: whoever looks for the cause finds it
    there, and nobody else has to read it.
    """
    try:
        yield
    except InvalidValue as error:
        # Its message is made for people; without a traceback around it they can read it.
        raise TrainingFailed("exception", str(error)) from error
    except MemoryError as error:
        raise TrainingFailed("oom_host", "the host's memory was not enough") from error
    except Exception as error:
        if getattr(error, "reason", None) in tuple(Reason):
            raise
        known = _explain(error)
        if known is None:
            traceback.print_exc()
            known = ("exception", f"{type(error).__name__}: {_first_line(error)} (the trial's log says where)")
        raise TrainingFailed(*known) from error


def _explain(error: Exception) -> tuple[str, str] | None:
    """Reason and sentence for an error of torch whose cause is known."""
    text, line = str(error), _first_line(error)
    if isinstance(error, torch.OutOfMemoryError) or any(words in text for words in NO_GPU_MEMORY):
        return "oom_cuda", f"the GPU's memory was not enough: {line}"
    if any(words in text for words in NO_HOST_MEMORY):
        return "oom_host", f"the host's memory was not enough: {line}"
    if NOT_REPEATABLE in text:
        operation = line.partition(" ")[0]
        return "exception", f"deterministic: this device has no {operation} that repeats bit for bit; set deterministic to false"
    if ONE_SAMPLE in text:
        return "exception", (
            "model.norm: batch norm cannot train on a single sample, and the last batch of an epoch may be one; "
            "set another batch_size or another norm"
        )
    # The class stands in a module that takes seconds to import and is there only when something was compiled.
    if any(base.__name__ == "TorchDynamoException" for base in type(error).__mro__):
        if NO_COMPILER in text:
            return "exception", "compile: this worker has no C++ compiler; install g++, or set compile to false"
        return "exception", f"compile: the model could not be compiled, set compile to false: {line}"
    return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:300]
