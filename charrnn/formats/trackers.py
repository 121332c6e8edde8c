"""Export the logs of runs for other programs: TensorBoard, or a table of comma-separated values."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from charrnn.errors import UsageError, named, require_package
from charrnn.runs.logs import MetricsLog
from charrnn.runs.overview import find_runs
from charrnn.runs.targets import Target, check_outside_runs
from charrnn.system.files import convert_os_errors
from charrnn.views.delivery import to_csv

SUFFIX = ".charrnn"
"""The suffix of the event files that charrnn writes."""


def export_logs(runs: Sequence[str], target: str, *, force: bool = False) -> str:
    """Write the logs of the named runs or of all runs, and return the path.

    The target is `tensorboard:DIR`, in which the files of an earlier call are replaced, or
    `csv:FILE`, in which an existing file is replaced with `force`. Raises UsageError for another
    target, an existing file or a missing package, CharRNNError for a file that cannot be written.
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

    # The logs are keyed by name, because TensorBoard shows each run under the name of its folder.
    logs = {folder.name: MetricsLog(folder.path / "metrics.jsonl") for folder in folders}
    if len(logs) < len(folders):
        raise UsageError("Two of the runs have one name: write them to two places.")
    if kind == "csv":
        table = Target(Path(path), force=force, read=runs)
        table.check()
        table.write(_to_table(logs))
    else:
        for name in logs:
            check_outside_runs(Path(path) / name, remedy="name another folder")
        for name, log in logs.items():
            _write_events(log, Path(path) / name)
    return path


def _to_table(logs: Mapping[str, MetricsLog]) -> bytes:
    """Return a CSV table with a row for each record; a field that a record lacks is empty."""
    # Steps and validations have different fields, and so have versions of the program.
    rows = [{"run": name} | record for name, log in logs.items() for record in log.read()]
    return to_csv(rows).encode("utf-8", "replace")


def _write_events(log: MetricsLog, path: Path) -> None:
    """Write every number of a log as a TensorBoard scalar of its step."""
    require_package("tensorboard", user=named("to", "tensorboard:DIR"), extra="tensorboard")
    from torch.utils.tensorboard import SummaryWriter  # a shell around that package

    # TensorBoard shows the wall-clock time of each value. The log counts seconds of training, and
    # its last line was written when the file was last changed.
    records = log.read()
    start = 0.0
    if records:
        start = log.path.stat().st_mtime - _seconds(records[-1])

    # The old files are removed first: file names contain the time in seconds, so a new file may
    # have the name of an old file.
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
    """Return the seconds of training after which a record was written; 0 if it has no time."""
    seconds = record.get("seconds")
    if isinstance(seconds, int | float):
        return seconds
    return 0.0
