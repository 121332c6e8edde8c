"""What was reported while a test measured something, and what it came to."""

from collections.abc import Iterator
from contextlib import contextmanager

from charrnn.system.progress import Progress, Task, using


@contextmanager
def reports() -> Iterator[dict[str, int]]:
    """Yield the amounts that are done by the label of the work, tasks of the same label
    together."""
    tasks: dict[int, Task] = {}
    done: dict[str, int] = {}

    def note(task: Task) -> None:
        tasks[id(task)] = task
        done.clear()
        for one in tasks.values():
            done[one.label] = done.get(one.label, 0) + one.done

    with using(Progress(note)):
        yield done
    assert all(task.total in (0, task.done) for task in tasks.values()), "each ends at its total"
