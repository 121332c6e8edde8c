"""Threads that stand for the processes of a training, and exchange tensors in memory."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from charrnn.distributed.group import ConnectedProcesses
from charrnn.errors import CharRNNError, OtherProcessError


class Meeting:
    """Where threads exchange tensors: all bring one, then all see all of them."""

    def __init__(self, size):
        self._barrier = threading.Barrier(size, timeout=600)
        self._brought = {}

    def exchange(self, rank, tensor):
        try:
            self._brought[rank] = tensor.clone()
            self._barrier.wait()
            brought = [self._brought[rank] for rank in range(self._barrier.parties)]
            self._barrier.wait()
        except threading.BrokenBarrierError:
            raise OtherProcessError("another thread ended") from None
        assert len({(part.shape, part.dtype) for part in brought}) == 1, (
            "the threads are at different places"
        )
        return brought

    def leave(self):
        self._barrier.abort()


@dataclass(frozen=True)
class Threads(ConnectedProcesses):
    """One of several threads that stand for processes."""

    meeting: Meeting = field(default_factory=lambda: Meeting(1))

    def _sum(self, tensor):
        first, *others = self.meeting.exchange(self.rank, tensor)
        tensor.copy_(sum(others, start=first))


def in_processes(size, work):
    """What `work` returns in each of `size` processes; raises the first error that is not about
    another process."""
    meeting = Meeting(size)

    def run(rank):
        try:
            return work(Threads(rank, size, rank, size, meeting=meeting))
        except CharRNNError as error:
            meeting.leave()
            return error
        except BaseException:
            meeting.leave()
            raise

    with ThreadPoolExecutor(size) as pool:
        results = list(pool.map(run, range(size)))
    errors = [result for result in results if isinstance(result, CharRNNError)]
    for error in sorted(errors, key=lambda error: isinstance(error, OtherProcessError)):
        raise error
    return results
