"""Experiment trackers: each follows the events of a run, for TensorBoard or Weights & Biases.

A tracker is imported only when it is asked for. It never ends or disturbs training: if it fails, one warning says so,
and training continues without it.
"""

from __future__ import annotations

import contextlib
import html
import importlib
import importlib.util
import json
import math
import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from charrnn.errors import CharRNNError, CheckpointError, UsageError, did_you_mean, install_command, named
from charrnn.extensions import PackageFunction
from charrnn.files import MAX_TEXT_BYTES, json_to_bytes, parse_json, read_capped, write_atomically
from charrnn.training.events import (
    DoneEvent,
    EvaluationEvent,
    SampleEvent,
    StartEvent,
    StepEvent,
    TrainEvent,
    WarningEvent,
)

IDS = "trackers.json"
"""The file in a run's folder with the id that each tracker gave the run, by which a resumed run continues there."""
PROJECT = "charrnn"
"""Project or experiment of all runs, unless the tracker's own environment variable names another."""
SAMPLE = "sample"
"""Name of the samples."""
STEP_METRICS = ("train_nats", "learning_rate", "grad_norm", "chars_per_second")
"""Fields of a step that are logged."""
EVALUATION_METRICS = ("val_nats", "val_bpc")
"""Fields of a validation that are logged."""


class TensorBoard:
    """Event files in the run's own folder, for `tensorboard --logdir checkpoints`."""

    remedy, id = install_command("tensorboard"), ""

    def __init__(self, folder: Path, settings: Mapping[str, Any], first_step: int, id: str | None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Hides the values that an interrupted run has logged beyond the checkpoint that it continues from.
        self._writer: Any = SummaryWriter(str(folder), purge_step=first_step + 1 if first_step else None)
        self._settings = dict(settings)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log the values of a step."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def log_text(self, text: str, step: int) -> None:
        """Log a sample, as a block of code: TensorBoard reads Markdown."""
        self._writer.add_text(SAMPLE, "\n".join(f"    {line}" for line in text.split("\n")), step)

    def close(self, summary: Mapping[str, float], step: int) -> None:
        """Log the hyperparameters with the final values, and close the file."""
        from torch.utils.tensorboard.summary import hparams

        # Not `add_hparams`, which makes a run of its own for them.
        for part in hparams(self._settings, dict(summary)):  # type: ignore[no-untyped-call]
            self._writer.file_writer.add_summary(part)
        self.log(summary, step)
        self._writer.close()


class WandB:
    """A run of Weights & Biases; `WANDB_MODE=offline` keeps it on this machine."""

    remedy = "pip install wandb"

    def __init__(self, folder: Path, settings: Mapping[str, Any], first_step: int, id: str | None) -> None:
        self._module: Any = importlib.import_module("wandb")
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        quiet = self._module.Settings(console="off")
        self._run = self._module.init(
            project=project, name=folder.name, id=id, resume="allow", config=dict(settings), settings=quiet
        )
        self.id = str(self._run.id)
        # By our own steps: wandb's must rise, and a resumed run repeats some.
        self._run.define_metric("*", step_metric="step")

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log the values of a step."""
        self._run.log({**metrics, "step": step})

    def log_text(self, text: str, step: int) -> None:
        """Log a sample."""
        self._run.log({SAMPLE: self._module.Html(f"<pre>{html.escape(text)}</pre>"), "step": step})

    def close(self, summary: Mapping[str, float], step: int) -> None:
        """Log the final values, and finish the run."""
        self._run.summary.update(dict(summary))
        self._run.finish()


Tracker = TensorBoard | WandB
"""Sends one run to a tracker. The methods raise whatever the tracker raises.

`id` identifies the run at the tracker; a resumed run is opened with the one it had. Settings and facts are numbers,
booleans and texts; all values are finite.
"""
TRACKERS: Mapping[str, type[Tracker]] = {"tensorboard": TensorBoard, "wandb": WandB}
"""All trackers by name, which is that of its package, too; `remedy` is the command that installs it."""


def _send(tracker: Tracker, event: TrainEvent) -> None:
    """Log what is logged of an event."""
    if isinstance(event, SampleEvent):
        tracker.log_text(event.text, event.step)
    elif isinstance(event, StepEvent | EvaluationEvent):
        metrics = STEP_METRICS if isinstance(event, StepEvent) else EVALUATION_METRICS
        tracker.log(_finite({name: getattr(event, name) for name in metrics}), event.step)


def check_trackers(names: Sequence[str]) -> None:
    """Raise UsageError for an unknown tracker, or one that is named twice, CharRNNError for one not installed."""
    for number, name in enumerate(names):
        if name not in TRACKERS:
            hint = did_you_mean(name, TRACKERS)
            raise UsageError(f"{named('log')} is {name[:40]!r}; it must be one of {', '.join(TRACKERS)}.{hint}")
        if name in names[:number]:
            raise UsageError(f"{named('log')} is {name} twice: leave one out.")
        if not _is_installed(name):
            raise CharRNNError(
                f"{named('log', name)} needs the package {name}, which is not installed.\n"
                f"Install it: {TRACKERS[name].remedy}"
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
    return _Following(names).follow(events)


class _Following:
    """The trackers of one training."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        """The trackers that are not open yet."""
        self._start: StartEvent | None = None
        self._open: dict[str, Tracker] = {}
        self._summary: dict[str, float] = {}
        self._step = 0

    def follow(self, events: Generator[TrainEvent, None, None]) -> Generator[TrainEvent, None, None]:
        """Yield the events, each after the warnings about the trackers that could not receive it."""
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
        """Send an event to all trackers; yield a warning for each that fails."""
        if isinstance(event, StartEvent):
            self._start = event
        if isinstance(event, StartEvent | WarningEvent):
            return
        # Only now: a new run has been saved by its second event. Before, its folder would be removed after a failure,
        # unless it contained files of a tracker.
        for name in self._names:
            yield from self._guarded(name, partial(self._open_tracker, name))
        self._names = ()
        if isinstance(event, DoneEvent):
            yield from self._close()
            return
        if isinstance(event, EvaluationEvent) and event.is_best:
            self._summary = _finite({"best_val_nats": event.val_nats, "best_step": float(event.step)})
        self._step = event.step
        for name, tracker in [*self._open.items()]:
            yield from self._guarded(name, partial(_send, tracker, event))

    def _close(self) -> Iterator[WarningEvent]:
        """Close all trackers; yield a warning for each that fails."""
        for name, tracker in [*self._open.items()]:
            yield from self._guarded(name, partial(tracker.close, self._summary, self._step))
        self._open.clear()

    def _open_tracker(self, name: str) -> None:
        assert self._start is not None, "training begins with its start event"
        folder = Path(self._start.run)
        ids = _read_ids(folder)
        facts = {**self._start.config, "num_parameters": self._start.num_parameters, "text": self._start.corpus}
        plain = {
            key: value if isinstance(value, bool | int | float | str) else json.dumps(value)
            for key, value in facts.items()
        }
        tracker = TRACKERS[name](folder, plain, self._start.first_step, ids.get(name))
        self._open[name] = tracker
        if tracker.id and tracker.id != ids.get(name):
            write_atomically(folder / IDS, json_to_bytes({**ids, name: tracker.id}))

    def _guarded(self, name: str, act: Callable[[], object]) -> Iterator[WarningEvent]:
        """Call `act`; if that fails, drop the tracker and yield the one warning about it."""
        try:
            # Trackers print to stdout, which carries the result of the command.
            with contextlib.redirect_stdout(sys.stderr):
                act()
        except Exception as error:  # Any: of a network, of a service, or of a version that we do not know.
            self._open.pop(name, None)
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            yield WarningEvent(message=f"{name} failed, and gets no more of this run: {reason}")


def _read_ids(folder: Path) -> dict[str, str]:
    """Return the ids of earlier trainings of a run; none if the file is missing or damaged."""
    try:
        ids = parse_json(folder / IDS, read_capped(folder / IDS, max_bytes=MAX_TEXT_BYTES))
    except CheckpointError:
        return {}
    return {name: id for name, id in ids.items() if isinstance(id, str)} if isinstance(ids, dict) else {}


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}


EXTENSIONS = (PackageFunction(name="tracked", function=tracked),)
"""`charrnn.tracked`."""
