"""Give the logs of runs to other programs: TensorBoard, or a table of comma-separated values."""

import csv
import io
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from charrnn.errors import UsageError, install_command, named
from charrnn.runs.logs import MetricsLog
from charrnn.runs.overview import find_runs
from charrnn.runs.targets import Target
from charrnn.system.files import convert_os_errors

SUFFIX = ".charrnn"
"""The end of the name of an event file from here."""


def export_logs(runs: Sequence[str], target: str, *, force: bool = False) -> str:
    """Write the logs of the named runs, or of all, and return the path.

    The target is `tensorboard:DIR`, where what an earlier call wrote is replaced, or `csv:FILE`,
    which `force` replaces if it exists. Raises UsageError for another target, an existing file or a
    missing package, CharRNNError for a file that cannot be written.
    """
    kind, _, path = target.partition(":")
    if kind not in ("tensorboard", "csv") or not path:
        raise UsageError(
            f"{named('to')} is {target!r}; it must be tensorboard:DIR or csv:FILE, such as"
            " tensorboard:logs."
        )

    folders = find_runs(runs)
    if not folders:
        raise UsageError("There are no runs yet. Train one first: charrnn train")

    # By name: that is the folder of a run in TensorBoard.
    logs = {folder.name: MetricsLog(folder.path / "metrics.jsonl") for folder in folders}
    if len(logs) < len(folders):
        raise UsageError("Two of the runs have one name: write them to two places.")
    if kind == "csv":
        table = Target(Path(path), force=force, runs=runs)
        table.check()
        table.write(_to_table(logs))
    else:
        for name, log in logs.items():
            _write_events(log, Path(path) / name)
    return path


def _to_table(logs: Mapping[str, MetricsLog]) -> bytes:
    """Return a row for each step and each validation; a field that a record lacks is empty."""
    rows = [{"run": name} | record for name, log in logs.items() for record in log.read()]

    # Steps and validations have different fields; versions of the program, too.
    columns = dict.fromkeys(column for row in rows for column in row)
    written = io.StringIO()
    table = csv.DictWriter(written, list(columns), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return written.getvalue().encode("utf-8", "replace")


def _write_events(log: MetricsLog, path: Path) -> None:
    """Write every number of a log as a scalar of its step."""
    if find_spec("tensorboard") is None:
        raise UsageError(
            f"{named('to', 'tensorboard:DIR')} needs the package tensorboard. Install it:"
            f" {install_command('tensorboard')}"
        )
    from torch.utils.tensorboard import SummaryWriter  # a shell around that package

    # TensorBoard shows the time of each value. The log counts seconds of training, and its last
    # line was written when the file was.
    records = log.read()
    start = 0.0
    if records:
        start = log.path.stat().st_mtime - _seconds(records[-1])

    # The old files go first: a new one may have the name of one that is a second old.
    with convert_os_errors("write", path=path):
        for file in path.glob(f"events.out.tfevents.*{SUFFIX}"):
            file.unlink(missing_ok=True)
        with SummaryWriter(str(path), filename_suffix=SUFFIX) as writer:
            for record in records:
                step = record.get("step")
                time = start + _seconds(record)
                for name, value in record.items():
                    if name != "step" and isinstance(value, int | float):
                        writer.add_scalar(name, value, global_step=step, walltime=time)


def _seconds(record: Mapping[str, object]) -> float:
    """Return after how many seconds a record was written, 0 where it does not say."""
    seconds = record.get("seconds")
    if isinstance(seconds, int | float):
        return seconds
    return 0.0
