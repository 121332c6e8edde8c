"""Give the logs of runs to other programs: TensorBoard, or a table of comma-separated values."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from charrnn.errors import UsageError, install_command, named
from charrnn.runs.logs import MetricsLog
from charrnn.runs.reader import RunReader
from charrnn.system.files import behind_links, convert_os_errors, write_atomically

SUFFIX = ".charrnn"
"""The end of the name of an event file that was written here."""


def export_logs(folders: Sequence[RunReader], target: str) -> Path:
    """Write the logs of runs to a target, `tensorboard:DIR` or `csv:FILE`, and return its path.

    What an earlier call wrote there is replaced, so that it may be called while a run is trained.
    Raises UsageError for another target or a missing package, CharRNNError for a file that cannot
    be written.
    """
    kind, _, path = target.partition(":")
    if kind not in ("tensorboard", "csv") or not path:
        raise UsageError(
            f"{named('to')} is {target!r}; it must be tensorboard:DIR or csv:FILE, such as"
            " tensorboard:logs."
        )
    twice = [name for name, count in Counter(f.name for f in folders).items() if count > 1]
    if twice:
        raise UsageError(f"There are two runs {twice[0]}: write them to two places.")
    if kind == "csv":
        _write_table(folders, Path(path))
    else:
        for folder in folders:
            _write_events(folder, Path(path) / folder.name)
    return Path(path)


def _log_of(folder: RunReader) -> MetricsLog:
    return MetricsLog(folder.path / "metrics.jsonl")


def _write_table(folders: Iterable[RunReader], path: Path) -> None:
    """Write a row for each step and each validation; a field that a record lacks is empty."""
    rows: list[dict[str, Any]] = []
    for folder in folders:
        for record in _log_of(folder).read():
            rows.append({"run": folder.name} | record)

    # Steps and validations have different fields; versions of the program, too.
    columns = dict.fromkeys(column for row in rows for column in row)
    written = io.StringIO(newline="")
    table = csv.DictWriter(written, list(columns), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    with convert_os_errors("write", path):
        write_atomically(behind_links(path), written.getvalue().encode("utf-8", "replace"))


def _write_events(folder: RunReader, path: Path) -> None:
    """Write every number of a log as a scalar of its step."""
    # torch's writer is a shell around tensorboard; importing it takes a second.
    writers = {"tensorboardX": "tensorboardX", "tensorboard": "torch.utils.tensorboard"}
    package = next(filter(find_spec, writers), None)
    if package is None:
        raise UsageError(
            f"{named('to', 'tensorboard:DIR')} needs the package tensorboard, or tensorboardX."
            f" Install it: {install_command('tensorboard')}"
        )
    make_writer = import_module(writers[package]).SummaryWriter

    # TensorBoard shows the time of each value. The log counts seconds of training, and its last
    # line was written when the file was.
    log = _log_of(folder)
    records = log.read()
    start = 0.0
    if records:
        start = log.path.stat().st_mtime - _number(records[-1].get("seconds"))

    # The old files go first: a new one may have the name of one that is a second old.
    with convert_os_errors("write", path):
        for file in path.glob(f"events.out.tfevents.*{SUFFIX}"):
            file.unlink(missing_ok=True)
        with make_writer(str(path), filename_suffix=SUFFIX) as writer:
            for record in records:
                step = record.get("step")
                time = start + _number(record.get("seconds"))
                for name, value in record.items():
                    if name != "step" and isinstance(value, int | float):
                        writer.add_scalar(name, value, global_step=step, walltime=time)


def _number(value: object) -> float:
    """Return a number of a record, 0 for what is none."""
    if isinstance(value, int | float):
        return float(value)
    return 0.0
