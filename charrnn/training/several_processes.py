"""A training in several processes: all that it does otherwise than a training in one.

All processes go through the same lines of `loop` and `session`, and take each step together: each
computes its own rows of the batch, and all sum their gradients (data parallelism). The first
process plans, validates, writes samples, and alone writes the run's folder. `loop` chooses between
`SeveralProcesses` and its own `OneProcess`. Each class here says what its class for one process
does otherwise:

- `SomeRows`, of `trainer.AllRows`: what a step exchanges;
- `SharedComputing`, of `measuring.Computing`: how long steps are measured;
- `UnwrittenRun`, of `runs.writer.RunWriter`: that one process writes;
- `SharedSession`, of `session.TrainingSession`: what is decided between two steps;
- `SeveralProcesses`, of `loop.OneProcess`: what is agreed on before the first step.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from charrnn.config.settings import Config, resolved
from charrnn.distributed.group import ProcessGroup
from charrnn.model.device import pick_device
from charrnn.model.losses import MeanScores
from charrnn.runs.checkpoint import Checkpoint, RunDescription, Tensors
from charrnn.runs.writer import RunWriter, clear_unsaved, new_run, reopened_run
from charrnn.system.files import JSON
from charrnn.training.measuring import Computing
from charrnn.training.minutes import TimeBudget
from charrnn.training.plan import Plan
from charrnn.training.run_text import RunText
from charrnn.training.session import TrainingSession
from charrnn.training.trainer import AllRows


@dataclass(frozen=True)
class SomeRows(AllRows):
    """The batch rows that a process computes, of a batch that several processes share.

    Together they take the step that a single process takes, up to rounding. (With `learned_after`,
    the mean of each process counts equally, however many characters it learns, so the step differs
    a little from a single process's.) `Trainer.take_step` and `Trainer.snapshot` must be called in
    all of them.
    """

    group: ProcessGroup
    """The processes that share the batch, and the weights of whose trainers are the same."""

    @property
    def num_parts(self) -> int:
        """How many processes compute a part of the batch each."""
        return self.group.size

    def slice_of(self, batch_size: int) -> slice:
        """Return the place of the rows in a batch. Raises UsageError for fewer rows than
        processes."""
        return self.group.rows(batch_size)

    def add_others(self, tensors: Sequence[Tensor]) -> None:
        """Add to each of the tensors what the other processes have computed."""
        self.group.sum_in_place(tensors)

    def join(self, state: Tensor, batch_size: int) -> Tensor:
        """Return the state of the rows of all processes."""
        return self.group.join_rows(state, batch_size=batch_size)


@dataclass(frozen=True)
class SharedComputing(Computing):
    """What several processes compute with: a device each."""

    group: ProcessGroup = field(kw_only=True)
    """The processes that take the steps together."""

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true in any process: all measure equally many steps."""
        return self.group.any(flag)


class UnwrittenRun(RunWriter):
    """The run in all processes but the first: its folder is read there, and never written."""

    def write_description(self, description: RunDescription) -> None:
        """Write nothing."""

    def write_document_texts(
        self, texts: Mapping[str, str], recorded: object = None
    ) -> dict[str, JSON] | None:
        """Write nothing, and return no seal."""
        return None

    def continue_from(self, checkpoint: Checkpoint) -> None:
        """Write nothing."""

    def rewind(self, checkpoint: Checkpoint, keep: int) -> list[str]:
        """Remove nothing, and return no message."""
        return []

    def check_still_owned(self) -> None:
        """Check nothing: the first process has the lock."""

    def log(self, record: Mapping[str, JSON]) -> None:
        """Write nothing."""

    def commit(
        self,
        *,
        step: int,
        model: Tensors,
        training: Tensors,
        state: Mapping[str, JSON],
        description: RunDescription,
        keep: int,
    ) -> None:
        """Write nothing."""


@dataclass(eq=False)
class SharedSession(TrainingSession):
    """Trains a run with other processes, each of which has a session and goes through the same
    steps. Only the first process validates and writes samples."""

    def __post_init__(self) -> None:
        assert isinstance(self.computing, SharedComputing), "the processes are known"
        self.group = self.computing.group

    def _is_asked(self, ask: Callable[[], bool]) -> bool:
        # A request reaches one process, and all act on it at the same step: a process that stopped
        # alone would leave the rest waiting for its gradients forever.
        return self.group.any(ask())

    def _has_checkpoint(self, name: str) -> bool:
        # The first process may have mended the folder.
        return self.group.of_first(super()._has_checkpoint(name))

    def _load_latest(self) -> Checkpoint:
        with self.group.in_turn():
            return super()._load_latest()

    def _seconds_of_run(self) -> float:
        # The clocks of all differ.
        return self.group.of_first(super()._seconds_of_run())

    def _new_plan(self, budget: TimeBudget) -> Config:
        config = self.trainer.config
        with self.group.together():
            if self.group.is_first:
                config = super()._new_plan(budget)
        return Config(**self.group.of_first(asdict(config)))

    def _measure_losses(self, max_chars: int | None, num_threads: int) -> MeanScores | None:
        # The other processes wait for the result, so their threads are free.
        means = None
        if self.group.is_first:
            all_threads = num_threads * self.group.local_size
            means = super()._measure_losses(max_chars, num_threads=all_threads)
        return self.group.of_first(means)

    def _is_sample_due(self) -> bool:
        return self.group.is_first and super()._is_sample_due()

    def _state_to_save(self) -> dict[str, Any]:
        return {**super()._state_to_save(), "num_processes": self.group.size}


class SeveralProcesses:
    """How a training runs in several processes: what `loop.OneProcess` does in one.

    Its methods, which exchange values, must be called in all processes.
    """

    session_class: ClassVar[type[SharedSession]] = SharedSession
    """The class of the session."""

    def __init__(self, group: ProcessGroup):
        """Train in the processes of a group, which are connected."""
        self.group = group

    @property
    def num_processes(self) -> int:
        """How many processes train the model together."""
        return self.group.size

    def preparation(self) -> AbstractContextManager[None]:
        """Prepare a training in a block: the first process of each host before the rest of them.
        An error in any process is raised in every process: one that raised alone would leave the
        rest waiting for it."""
        return self.group.in_turn()

    def computing(self, config: Config, start: float) -> Computing:
        """Choose the device of this process. Raises UsageError for a device that is missing, and
        for a text that only one process can read."""
        self.group.check_corpus(config.corpus)
        return SharedComputing(
            self.group.device(pick_device(config.device)),
            start=start,
            own_rows=SomeRows(self.group),
            num_processes=self.group.size,
            group=self.group,
        )

    def clear(self, folder: Path) -> None:
        """Make room for a new run, in the first process."""
        if self.group.is_first:
            clear_unsaved(folder)

    def agree(self, plan: Plan, text: RunText) -> Plan:
        """Return the plan of the first process: each plans by its own measurements. Raises
        UsageError for fewer batch rows than processes, DataError if the processes have read
        different texts."""
        self.group.check_same_text(text.corpus.digest)
        agreed = self.group.of_first(asdict(plan))
        config = Config(**agreed["config"])
        budget = None
        if agreed["budget"] is not None:
            budget = TimeBudget(**agreed["budget"])
        with self.group.together():
            self.group.rows(resolved(config.batch_size))
        return Plan(config=config, budget=budget, ends_early=agreed["ends_early"])

    def new_run(self, folder: Path | None, name: str) -> AbstractContextManager[RunWriter]:
        """Create and lock the folder of a new run, in the first process."""
        return self._opened_by_first(new_run(folder, name=name))

    def reopened_run(self, run: str | None) -> AbstractContextManager[RunWriter]:
        """Lock and mend the folder of an old run in the first process, before any other process
        reads it: a reader could meet a checkpoint that is being renamed."""
        return self._opened_by_first(reopened_run(run))

    @contextmanager
    def _opened_by_first(self, run: AbstractContextManager[RunWriter]) -> Iterator[RunWriter]:
        """Open a run in the first process, and let all others know its folder."""
        with ExitStack() as stack:
            opened: RunWriter | None = None
            path = ""
            # An error of the first process ends all processes: they would wait for the path.
            with self.group.together():
                if self.group.is_first:
                    opened = stack.enter_context(run)
                    path = opened.path.as_posix()
            path = self.group.of_first(path)
            if opened is None:
                opened = UnwrittenRun(Path(path))
            yield opened
