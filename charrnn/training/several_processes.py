"""A training in several processes: all that it does otherwise than a training in one.

All processes go through the same lines of `loop` and `session`, and take each step together: each
computes its own rows of the batch, and all sum their gradients (data parallelism). The first
process plans, validates, writes samples, and alone writes the run's folder. What differs stands
here, beside the code for one process:

- `SharedTrainer`: a step (of `Trainer`), and `SharedComputing`: what the plan measures it with;
- `SharedSession`: what is decided between two steps, and `SharedRun`: what is written;
- `Strategy` and `SharedStrategy`: what `loop` does before the first step.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from charrnn.config.settings import Config, resolved
from charrnn.distributed.group import ProcessGroup, connected
from charrnn.model.device import pick_device
from charrnn.model.losses import MeanScores
from charrnn.runs.checkpoint import Checkpoint, RunDescription, Tensors
from charrnn.runs.writer import RunWriter, clear_unsaved, new_run, reopened_run
from charrnn.system.files import JSON
from charrnn.text.batches import BatchRows
from charrnn.text.vocab import IdArray
from charrnn.training.measuring import Computing
from charrnn.training.minutes import TimeBudget
from charrnn.training.plan import Plan
from charrnn.training.run_text import RunText
from charrnn.training.session import TrainingSession
from charrnn.training.trainer import Trainer


class SharedTrainer(Trainer):
    """Takes the steps of a training with other processes, which have the same weights.

    Together they take the step that a single process takes, up to rounding. (With `learned_after`,
    the mean of each process counts equally, however many characters it learns, so the step differs
    a little from a single process's.) `take_step` and `snapshot` must be called in all of them.
    """

    def __init__(
        self,
        config: Config,
        batches: BatchRows,
        vocab_size: int,
        device: torch.device,
        learned_after: IdArray | None = None,
        *,
        group: ProcessGroup,
    ):
        """Build the network. Raises UsageError for more processes than batch rows."""
        super().__init__(
            config,
            batches=batches,
            vocab_size=vocab_size,
            device=device,
            learned_after=learned_after,
            rows=group.rows(batches.batch_size),
        )
        self.group = group

    def _num_learned(self, is_learned: Tensor) -> int:
        # The mean over this process's own learned characters, because how many the others have is
        # not known here.
        return super()._num_learned(is_learned) * self.group.size

    def _add_other_rows(self, tensors: Sequence[Tensor]) -> None:
        self.group.sum_in_place(tensors)

    def _state_of_all_rows(self) -> Tensor:
        return self.group.join_rows(self.state, batch_size=self.batches.batch_size)


@dataclass(frozen=True)
class SharedComputing(Computing):
    """What several processes compute with: a device each."""

    group: ProcessGroup = field(kw_only=True)
    """The processes that take the steps together."""

    def new_trainer(
        self,
        config: Config,
        *,
        batches: BatchRows,
        vocab_size: int,
        learned_after: IdArray | None = None,
    ) -> Trainer:
        """Return a trainer with new weights, the same in all processes."""
        return SharedTrainer(
            config,
            batches=batches,
            vocab_size=vocab_size,
            device=self.device,
            learned_after=learned_after,
            group=self.group,
        )

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true in any process: all measure equally many steps."""
        return self.group.any(flag)


@dataclass(frozen=True)
class SharedRun(RunWriter):
    """A run that several processes train: only the first of them writes its folder."""

    group: ProcessGroup
    """The processes that train the run."""

    def write_description(self, description: RunDescription) -> None:
        """Write the configuration and the alphabet, in the first process."""
        if self.group.is_first:
            super().write_description(description)

    def write_document_texts(
        self, texts: Mapping[str, str], recorded: object = None
    ) -> dict[str, JSON] | None:
        """Keep the texts of documents, and return the seal of their file, in the first process."""
        if self.group.is_first:
            return super().write_document_texts(texts, recorded)
        return None

    def continue_from(self, checkpoint: Checkpoint) -> None:
        """Make a checkpoint the newest one, in the first process."""
        if self.group.is_first:
            super().continue_from(checkpoint)

    def rewind(self, checkpoint: Checkpoint, keep: int) -> list[str]:
        """Remove what is later than a checkpoint, and return messages, in the first process."""
        if self.group.is_first:
            return super().rewind(checkpoint, keep)
        return []

    def has_checkpoint(self, name: str) -> bool:
        """Return whether the first process, which may have mended the folder, finds a
        checkpoint."""
        return self.group.of_first(super().has_checkpoint(name))

    def check_still_owned(self) -> None:
        """Check that a checkpoint can be saved, in the first process, which has the lock."""
        if self.group.is_first:
            super().check_still_owned()

    def log(self, record: Mapping[str, JSON]) -> None:
        """Add a record to the log, in the first process."""
        if self.group.is_first:
            super().log(record)

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
        """Save a checkpoint, which records the number of processes, in the first process."""
        if self.group.is_first:
            super().commit(
                step=step,
                model=model,
                training=training,
                state={**state, "num_processes": self.group.size},
                description=description,
                keep=keep,
            )


@dataclass(eq=False)
class SharedSession(TrainingSession):
    """Trains a run with other processes, each of which has a session and goes through the same
    steps. Only the first process validates and writes samples."""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert isinstance(self.computing, SharedComputing), "the processes are known"
        self.group = self.computing.group

    def _is_asked(self, ask: Callable[[], bool]) -> bool:
        # A request reaches one process, and all act on it at the same step: a process that stopped
        # alone would leave the rest waiting for its gradients forever.
        return self.group.any(ask())

    def _seconds_of_run(self) -> float:
        # The clocks of all differ.
        return self.group.of_first(super()._seconds_of_run())

    def _new_plan(self) -> Config:
        plan_again = super()._new_plan
        fields = self.group.first(lambda: asdict(plan_again()))
        assert fields is not None, "the first process has planned"
        return Config(**fields)

    def _load_latest(self) -> Checkpoint:
        with self.group.in_turn():
            return super()._load_latest()

    def _measure_losses(self, max_chars: int | None, num_threads: int) -> MeanScores | None:
        # The other processes wait for the result, so their threads are free.
        means = None
        if self.group.is_first:
            all_threads = num_threads * self.group.local_size
            means = super()._measure_losses(max_chars, num_threads=all_threads)
        return self.group.of_first(means)

    def _is_sample_due(self) -> bool:
        return self.group.is_first and super()._is_sample_due()


class Strategy:
    """How a training runs: in one process, in which nothing has to be agreed on."""

    session: ClassVar[type[TrainingSession]] = TrainingSession
    """The class of the session."""
    num_processes: int = 1
    """How many processes train the model together."""

    def preparation(self) -> AbstractContextManager[None]:
        """Prepare a training in a block, which reads files; an error ends it in every process."""
        return nullcontext()

    def computing(self, config: Config, start: float) -> Computing:
        """Choose the device; `start` is when the budget began. Raises UsageError for a device that
        is missing, and for a text that only one process can read."""
        return Computing(pick_device(config.device), start=start)

    def clear(self, folder: Path | None) -> None:
        """Make room for a new run in `folder`, if it is given. Raises the errors of
        `clear_unsaved`."""
        if folder is not None:
            clear_unsaved(folder)

    def agree(self, plan: Plan, text: RunText) -> Plan:
        """Return the plan that counts for the text. Raises UsageError for fewer batch rows than
        processes, DataError if the processes have read different texts."""
        return plan

    def new_run(self, folder: Path | None, name: str) -> AbstractContextManager[RunWriter]:
        """Create and lock the folder of a new run, as `runs.writer.new_run` does."""
        return new_run(folder, name=name)

    def reopened_run(self, run: str | None) -> AbstractContextManager[RunWriter]:
        """Lock and mend the folder of an old run, as `runs.writer.reopened_run` does."""
        return reopened_run(run)


class SharedStrategy(Strategy):
    """How a training runs in several processes.

    `strategy_of` makes it. Its methods, which exchange values, must be called in all processes.
    """

    session = SharedSession

    def __init__(self, group: ProcessGroup):
        """Train in the processes of a group, which are connected."""
        self.group = group
        self.num_processes = group.size

    def preparation(self) -> AbstractContextManager[None]:
        """Prepare a training in a block: the first process of each host before the rest of them.
        An error in any process is raised in every process: one that raised alone would leave the
        rest waiting for it."""
        return self.group.in_turn()

    def computing(self, config: Config, start: float) -> Computing:
        """Choose the device of this process."""
        self.group.check_corpus(config.corpus)
        device = self.group.device(pick_device(config.device))
        return SharedComputing(device, start=start, num_processes=self.group.size, group=self.group)

    def clear(self, folder: Path | None) -> None:
        """Make room for a new run, in the first process."""
        if self.group.is_first:
            super().clear(folder)

    def agree(self, plan: Plan, text: RunText) -> Plan:
        """Return the plan of the first process: each plans by its own measurements."""
        self.group.check_same_text(text.corpus.digest)
        agreed = self.group.of_first(asdict(plan))
        config = Config(**agreed["config"])
        budget = None
        if agreed["budget"] is not None:
            budget = TimeBudget(**agreed["budget"])
        with self.group.together():
            self.group.rows(resolved(config.batch_size))
        return Plan(config=config, budget=budget, ends_early=agreed["ends_early"])

    @contextmanager
    def new_run(self, folder: Path | None, name: str) -> Iterator[RunWriter]:
        """Create and lock the folder of a new run, in the first process."""
        with ExitStack() as stack:

            def create() -> str:
                return stack.enter_context(new_run(folder, name=name)).path.as_posix()

            yield SharedRun(Path(str(self.group.first(create))), group=self.group)

    @contextmanager
    def reopened_run(self, run: str | None) -> Iterator[RunWriter]:
        """Lock and mend the folder of an old run in the first process, before any other process
        reads it: a reader could meet a checkpoint that is being renamed."""
        with ExitStack() as stack:

            def reopen() -> str:
                return str(stack.enter_context(reopened_run(run)).path)

            yield SharedRun(Path(str(self.group.first(reopen))), group=self.group)


@contextmanager
def strategy_of(group: ProcessGroup | None) -> Iterator[Strategy]:
    """Connect the processes of a training, and disconnect them at the end: those of a group, or, by
    default, those that torchrun has started with this one.

    Raises the errors of `distributed.group.connected`.
    """
    with connected(group) as members:
        if members.size == 1:
            yield Strategy()
        else:
            yield SharedStrategy(members)
