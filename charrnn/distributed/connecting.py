"""Join the processes that train together, if this process was started with others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from charrnn.distributed.group import SINGLE, ProcessGroup
from charrnn.system.lazy import LazyModule

if TYPE_CHECKING:
    from charrnn.distributed import processes
else:
    # Most trainings are of one process, which needs nothing of it.
    processes = LazyModule("charrnn.distributed.processes")


@contextlib.contextmanager
def connected(group: ProcessGroup | None) -> Iterator[ProcessGroup]:
    """Connect with the processes that torchrun started with this one, unless a group is given;
    disconnect at the end.

    Raises UsageError if its variables are wrong, CharRNNError if a process cannot be reached.
    """
    # Only these variables, which torchrun and its imitations set, tell that it started this
    # process.
    if group is not None or "WORLD_SIZE" not in os.environ:
        yield group or SINGLE
        return
    with processes.connect() as connected_group:
        yield connected_group


def launched_process() -> ProcessGroup:
    """Return this process as a member of the processes that were started together, before they are
    connected.

    Call it before torch is loaded. Raises UsageError if the variables of torchrun are wrong.
    """
    if "WORLD_SIZE" not in os.environ:
        return SINGLE
    # Else torch logs the stack of each attempt to connect.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    return processes.launched()
