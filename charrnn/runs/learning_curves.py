"""The learning curve of a run, read from its log."""

from charrnn.config import resolved
from charrnn.runs.metrics import LoggedLoss, MetricsLog
from charrnn.runs.reader import RunReader
from charrnn.runs.records import LearningCurve, LossCurve
from charrnn.runs.summary import text_digest, text_name


def read_learning_curve(folder: RunReader, *, training: bool = False) -> LearningCurve:
    """Read the losses that a run logged: of its validations and, if asked for, of every step.

    Raises CheckpointError if the configuration or the log cannot be read.
    """
    config = folder.read_config()
    problems: list[str] = []
    points: dict[bool, list[LoggedLoss]] = {True: [], False: []}
    for loss in MetricsLog(folder.path / "metrics.jsonl").losses(problems):
        if loss.nats is None or loss.step is None or not (loss.is_validation or training):
            continue
        logged = points[loss.is_validation]
        # A run that was resumed from an earlier step logs the steps after it again; the later record counts.
        while logged and (logged[-1].step or 0) >= loss.step:
            logged.pop()
        logged.append(loss)
    chars_per_step = resolved(config.num_lanes) * resolved(config.bptt_length)
    return LearningCurve(
        run=folder.name,
        text=text_name(config.corpus),
        digest=text_digest(folder),
        alphabet=config.alphabet,
        split=config.split,
        validation=_curve(points[True], chars_per_step),
        training=_curve(points[False], chars_per_step),
        warnings=tuple(problems),
    )


def _curve(logged: list[LoggedLoss], chars_per_step: int) -> LossCurve:
    steps = tuple(loss.step or 0 for loss in logged)
    return LossCurve(
        steps=steps,
        characters=tuple(step * chars_per_step for step in steps),
        seconds=tuple(loss.seconds for loss in logged),
        nats=tuple(loss.nats or 0.0 for loss in logged),
    )
