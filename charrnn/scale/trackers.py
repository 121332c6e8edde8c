"""The events of a run for an experiment tracker: TensorBoard, whose files others read, too (`wandb sync`).

It is imported only when it is asked for. It never ends or disturbs training: if it fails, one warning says so, and
training continues without it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any

from charrnn.errors import CharRNNError, UsageError, install_command, named
from charrnn.extensions import PackageFunction
from charrnn.training.events import (
    DoneEvent,
    EvaluationEvent,
    SampleEvent,
    StartEvent,
    StepEvent,
    TrainEvent,
    WarningEvent,
)

NAME = "tensorboard"
"""The tracker, and its package."""
SAMPLE = "sample"
"""Name of the samples."""
STEP_METRICS = ("train_nats", "learning_rate", "grad_norm", "chars_per_second")
"""Fields of a step that are logged."""
EVALUATION_METRICS = ("val_nats", "val_bpc")
"""Fields of a validation that are logged."""


class TensorBoard:
    """Event files in the run's own folder, for `tensorboard --logdir checkpoints`.

    Its methods raise whatever TensorBoard raises. Settings and facts are numbers, booleans and texts; all values are
    finite.
    """

    def __init__(self, start: StartEvent) -> None:
        from torch.utils.tensorboard import SummaryWriter

        first_step = start.first_step
        # Hides the values that an interrupted run has logged beyond the checkpoint that it continues from.
        self._writer: Any = SummaryWriter(start.run, purge_step=first_step + 1 if first_step else None)
        facts = {**start.config, "num_parameters": start.num_parameters, "text": start.corpus}
        self._settings = {
            key: value if isinstance(value, bool | int | float | str) else json.dumps(value)
            for key, value in facts.items()
        }

    def send(self, event: TrainEvent) -> None:
        """Log what is logged of an event; a sample as a block of code: TensorBoard reads Markdown."""
        if isinstance(event, SampleEvent):
            self._writer.add_text(SAMPLE, "\n".join(f"    {line}" for line in event.text.split("\n")), event.step)
        elif isinstance(event, StepEvent | EvaluationEvent):
            metrics = STEP_METRICS if isinstance(event, StepEvent) else EVALUATION_METRICS
            self._log({name: getattr(event, name) for name in metrics}, event.step)

    def _log(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, step)

    def close(self, summary: Mapping[str, float], step: int) -> None:
        """Log the hyperparameters with the final values, and close the file."""
        from torch.utils.tensorboard.summary import hparams

        # Not `add_hparams`, which makes a run of its own for them.
        for part in hparams(self._settings, dict(summary)):  # type: ignore[no-untyped-call]
            self._writer.file_writer.add_summary(part)
        self._log(summary, step)
        self._writer.close()


def check_trackers(names: Sequence[str]) -> None:
    """Raise UsageError for an unknown tracker, or one that is named twice, CharRNNError if it is not installed."""
    for name in names:
        if name != NAME:
            raise UsageError(f"{named('log')} is {name[:40]!r}; it must be {NAME}, whose files `wandb sync` reads.")
    if len(names) > 1:
        raise UsageError(f"{named('log')} is {NAME} twice: leave one out.")
    if names and not _is_installed(NAME):
        raise CharRNNError(
            f"{named('log', NAME)} needs the package {NAME}, which is not installed.\n"
            f"Install it: {install_command(NAME)}"
        )


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # set to None in `sys.modules`
        return False


def tracked(events: Generator[TrainEvent, None, None], names: Sequence[str]) -> Generator[TrainEvent, None, None]:
    """Yield the events of training (`charrnn.train`, `charrnn.resume`), and send them to the named trackers.

    Raises as `check_trackers` at once, and as the events; a failure of a tracker is a WarningEvent, and is its last.
    """
    check_trackers(names)
    return _Following().follow(events) if names else events


class _Following:
    """TensorBoard during one training."""

    def __init__(self) -> None:
        self._start: StartEvent | None = None
        self._open: TensorBoard | None = None
        self._summary: dict[str, float] = {}
        self._step = 0

    def follow(self, events: Generator[TrainEvent, None, None]) -> Generator[TrainEvent, None, None]:
        """Yield the events, each after the warning about a tracker that could not receive it."""
        try:
            with closing(events):
                for event in events:
                    yield from self._receive(event)
                    yield event
        finally:
            # An error, or a second Ctrl-C, before the last event.
            for _ in self._close():
                pass

    def _receive(self, event: TrainEvent) -> Iterator[WarningEvent]:
        if isinstance(event, StartEvent):
            self._start = event
        if isinstance(event, StartEvent | WarningEvent):
            return
        # Only now: a new run has been saved by its second event. Before, its folder would be removed after a failure,
        # unless it contained files of a tracker.
        if self._start is not None:
            start, self._start = self._start, None
            yield from self._guarded(partial(self._open_tracker, start))
        if isinstance(event, DoneEvent):
            yield from self._close()
            return
        if isinstance(event, EvaluationEvent) and event.is_best:
            self._summary = {"best_val_nats": event.val_nats, "best_step": float(event.step)}
        self._step = event.step
        if self._open is not None:
            yield from self._guarded(partial(self._open.send, event))

    def _open_tracker(self, start: StartEvent) -> None:
        self._open = TensorBoard(start)

    def _close(self) -> Iterator[WarningEvent]:
        if self._open is not None:
            yield from self._guarded(partial(self._open.close, self._summary, self._step))
        self._open = None

    def _guarded(self, act: Callable[[], object]) -> Iterator[WarningEvent]:
        """Call `act`; if that fails, drop the tracker and yield the one warning about it."""
        try:
            # Trackers print to stdout, which carries the result of the command.
            with contextlib.redirect_stdout(sys.stderr):
                act()
        except Exception as error:  # Any: of a disk, or of a version that we do not know.
            self._open = None
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            yield WarningEvent(message=f"{NAME} failed, and gets no more of this run: {reason}")


EXTENSIONS = (PackageFunction(name="tracked", function=tracked),)
"""`charrnn.tracked`."""
