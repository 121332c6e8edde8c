"""charrnn: a laboratory for character-level recurrent language models.

    for event in charrnn.train(charrnn.Config(corpus=("shakespeare.txt",), minutes=3)): ...
    model = charrnn.load()
    print(model.sample(temperature=0.8, length=500).text)
    findings = charrnn.find_cells(model.trace(text))

The names are resolved when they are first used, so that importing the package imports neither NumPy
nor torch.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from charrnn.system.spinning import choose_spins, limit_threads
from charrnn.version import __version__ as __version__

if TYPE_CHECKING:
    from charrnn.api import Model, load
    from charrnn.cells.findings import CellFindings
    from charrnn.cells.scores import find_cells
    from charrnn.cells.trace import Trace
    from charrnn.config.settings import Config
    from charrnn.errors import CharRNNError
    from charrnn.evaluation.comparison import evaluate, evaluate_runs
    from charrnn.evaluation.loss_reports import Evaluation, LossReport
    from charrnn.generation.generated import GeneratedText, Prediction
    from charrnn.runs.learning_curves import LearningCurves, learning_curves
    from charrnn.runs.overview import RunSummary, run_summaries
    from charrnn.training.events import TrainEvent
    from charrnn.training.loop import resume, train

limit_threads()
choose_spins()

__all__ = [
    "CellFindings",
    "CharRNNError",
    "Config",
    "Evaluation",
    "GeneratedText",
    "LearningCurves",
    "LossReport",
]
__all__ += ["Model", "Prediction", "RunSummary", "Trace", "TrainEvent", "evaluate"]
__all__ += ["evaluate_runs", "find_cells", "learning_curves", "load", "resume"]
__all__ += ["run_summaries", "train"]

_NAMES = {
    "api": "Model load",
    "cells.findings": "CellFindings",
    "cells.scores": "find_cells",
    "cells.trace": "Trace",
    "config.settings": "Config",
    "errors": "CharRNNError",
    "evaluation.comparison": "evaluate evaluate_runs",
    "evaluation.loss_reports": "Evaluation LossReport",
    "generation.generated": "GeneratedText Prediction",
    "runs.learning_curves": "LearningCurves learning_curves",
    "runs.overview": "RunSummary run_summaries",
    "training.events": "TrainEvent",
    "training.loop": "resume train",
}
_HOMES = {
    name: f"{__name__}.{module}" for module, names in _NAMES.items() for name in names.split()
}
"""The module of each public name."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    # Python asks here for a module, too, before it imports that: `from charrnn import api`.
    if not name.startswith("_") and find_spec(f"{__name__}.{name}") is None:
        from charrnn.hooks.manager import MissingExtensionError, about_missing_rooms, find_named
        from charrnn.hooks.specifications import package_functions

        if (found := find_named(package_functions, name)) is not None:
            return found
        raise MissingExtensionError(
            f"module 'charrnn' has no attribute {name!r}.{about_missing_rooms()}"
        )
    raise AttributeError(f"module 'charrnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    from charrnn.hooks.manager import offered_names
    from charrnn.hooks.specifications import package_functions

    return sorted({"__version__", *__all__, *offered_names(package_functions)})
