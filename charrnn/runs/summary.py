"""The summary of a run for `charrnn runs`."""

from charrnn.config import resolved
from charrnn.files import JSON
from charrnn.records.runs import RunSummary
from charrnn.runs.metrics import MetricsLog
from charrnn.runs.reader import RunReader


def summarize(folder: RunReader) -> RunSummary:
    """Summarize a run's model, progress and best loss. Raises CheckpointError if it is damaged."""
    config = folder.read_config()
    step, best_nats, seconds, before = 0, None, 0.0, 0.0
    metrics = MetricsLog(folder.path / "metrics.jsonl")
    for record in metrics.read():
        number, nats, elapsed = (_number(record.get(key)) for key in ("step", "val_nats", "seconds"))
        step = max(step, int(number)) if number is not None else step
        if elapsed is not None:
            # Seconds count from the start of a process: where they decrease, the run was resumed.
            seconds += elapsed - before if elapsed >= before else elapsed
            before = elapsed
        if nats is not None:
            best_nats = nats if best_nats is None else min(best_nats, nats)
    return RunSummary(
        name=folder.path.name,
        cell=config.cell,
        num_layers=resolved(config.num_layers),
        hidden_size=resolved(config.hidden_size),
        corpus=", ".join(config.corpus) or "the standard library",
        step=step,
        num_steps=config.steps or 0,
        best_nats=best_nats,
        minutes=seconds / 60,
        warnings=tuple(metrics.problems()),
    )


def _number(value: JSON) -> float | None:
    """Return a logged value if it is a number that a table can show."""
    return float(value) if isinstance(value, int | float) and abs(value) < 1e18 else None
