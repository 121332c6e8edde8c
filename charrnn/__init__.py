"""charrnn: a laboratory for character-level recurrent language models.

    for event in charrnn.train(charrnn.Config(corpus="shakespeare.txt", minutes=3)): ...
    model = charrnn.load()
    print(model.sample(temperature=0.8, length=500).text)
    findings = charrnn.find_cells(model.trace(text))

What goes wrong raises a `CharRNNError`: a `UsageError`, a `DataError`, a `CheckpointError` or
another of the errors in `charrnn.errors`. The names of the detectors are in
`charrnn.detectors.registry.DETECTORS`.

The names are resolved when they are first used, so that importing the package imports neither NumPy
nor torch, and changes nothing.
"""

import charrnn_start as charrnn_start  # first: `python -m charrnn` has no handler of Ctrl-C yet

# isort: split
from typing import TYPE_CHECKING, Any

from charrnn.system import display
from charrnn.system.lazy import LazyModule
from charrnn.system.spinning import prepare_threads
from charrnn.version import __version__ as __version__

if TYPE_CHECKING:
    from charrnn.api import Model, load
    from charrnn.cells.records import CellFindings
    from charrnn.cells.scores import find_cells
    from charrnn.cells.trace import Trace
    from charrnn.config.settings import Config
    from charrnn.errors import CharRNNError, CheckpointError, DataError, UsageError
    from charrnn.evaluation.comparison import evaluate, evaluate_runs
    from charrnn.evaluation.loss_reports import Evaluation, LossReport
    from charrnn.generation.generated_text import GeneratedText, Prediction
    from charrnn.reports.lines import losses_by_line
    from charrnn.reports.provenance import Provenance
    from charrnn.runs.overview import LearningCurves, RunSummary, learning_curves, run_summaries
    from charrnn.training.events import TrainEvent
    from charrnn.training.loop import resume, train

display.views = LazyModule("charrnn.views.records")

__all__ = [
    "CellFindings",
    "CharRNNError",
    "CheckpointError",
    "Config",
    "DataError",
    "Evaluation",
    "GeneratedText",
    "LearningCurves",
    "LossReport",
    "Model",
    "Prediction",
    "Provenance",
    "RunSummary",
    "Trace",
    "TrainEvent",
    "UsageError",
    "evaluate",
    "evaluate_runs",
    "find_cells",
    "learning_curves",
    "load",
    "losses_by_line",
    "resume",
    "run_summaries",
    "train",
]

_NAMES = {
    "api": "Model load",
    "cells.records": "CellFindings",
    "cells.scores": "find_cells",
    "cells.trace": "Trace",
    "config.settings": "Config",
    "errors": "CharRNNError CheckpointError DataError UsageError",
    "evaluation.comparison": "evaluate evaluate_runs",
    "evaluation.loss_reports": "Evaluation LossReport",
    "generation.generated_text": "GeneratedText Prediction",
    "reports.lines": "losses_by_line",
    "reports.provenance": "Provenance",
    "runs.overview": "LearningCurves RunSummary learning_curves run_summaries",
    "training.events": "TrainEvent",
    "training.loop": "resume train",
}
_HOMES = {
    name: f"{__name__}.{module}" for module, names in _NAMES.items() for name in names.split()
}
"""The module of each public name."""


# A type checker would take a module with this function to have every name, misspelled ones, too.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Return a public name."""
        if name not in _HOMES:
            raise AttributeError(f"module 'charrnn' has no attribute {name!r}")
        prepare_threads()  # before NumPy and torch are imported, unless the program has done so
        return getattr(LazyModule(_HOMES[name]), name)


def __dir__() -> list[str]:
    return ["__version__", *__all__]
