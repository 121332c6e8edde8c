"""charrnn: a laboratory for character-level recurrent language models.

    for event in charrnn.train(charrnn.Config(corpus=("shakespeare.txt",), minutes=3)): ...
    model = charrnn.load()
    print(model.sample(temperature=0.8, length=500).text)
    findings = charrnn.find_cells(model.trace(text))

The names are resolved when they are first used, so that importing the package imports neither NumPy nor torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from charrnn.display import draw_with
from charrnn.version import __version__ as __version__

if TYPE_CHECKING:
    from charrnn.api import Model, find_cells, load, match_cells, training_spectrum
    from charrnn.comparison import (
        error_kinds,
        evaluate,
        evaluate_ngrams,
        evaluate_runs,
        long_range,
        losses_by_char,
        losses_by_line,
    )
    from charrnn.config import Config
    from charrnn.errors import CharRNNError
    from charrnn.microscope.trace import Trace
    from charrnn.mixing import Mixture, mix
    from charrnn.records.evaluation import Evaluation, LossReport
    from charrnn.records.generation import DocumentNovelty, GeneratedText, Novelty, Prediction
    from charrnn.records.microscope import CellFindings
    from charrnn.records.runs import LearningCurves, RunSummary
    from charrnn.records.sweep import SweepReport
    from charrnn.records.training import TrainEvent
    from charrnn.runs.overview import learning_curves, run_summaries
    from charrnn.training.loop import resume, train
    from charrnn.training.sweep import read_sweep, sweep
    from charrnn.training.trackers import tracked

draw_with("charrnn.render.notebook")

_HOMES = {
    "find_cells": "charrnn.api",
    "load": "charrnn.api",
    "match_cells": "charrnn.api",
    "training_spectrum": "charrnn.api",
    "Model": "charrnn.api",
    "error_kinds": "charrnn.comparison",
    "evaluate": "charrnn.comparison",
    "evaluate_ngrams": "charrnn.comparison",
    "evaluate_runs": "charrnn.comparison",
    "long_range": "charrnn.comparison",
    "losses_by_char": "charrnn.comparison",
    "losses_by_line": "charrnn.comparison",
    "Config": "charrnn.config",
    "CharRNNError": "charrnn.errors",
    "Trace": "charrnn.microscope.trace",
    "Mixture": "charrnn.mixing",
    "mix": "charrnn.mixing",
    "Evaluation": "charrnn.records.evaluation",
    "LossReport": "charrnn.records.evaluation",
    "DocumentNovelty": "charrnn.records.generation",
    "GeneratedText": "charrnn.records.generation",
    "Novelty": "charrnn.records.generation",
    "Prediction": "charrnn.records.generation",
    "CellFindings": "charrnn.records.microscope",
    "LearningCurves": "charrnn.records.runs",
    "RunSummary": "charrnn.records.runs",
    "SweepReport": "charrnn.records.sweep",
    "TrainEvent": "charrnn.records.training",
    "learning_curves": "charrnn.runs.overview",
    "run_summaries": "charrnn.runs.overview",
    "resume": "charrnn.training.loop",
    "train": "charrnn.training.loop",
    "read_sweep": "charrnn.training.sweep",
    "sweep": "charrnn.training.sweep",
    "tracked": "charrnn.training.trackers",
}

__all__ = [
    "CellFindings",
    "CharRNNError",
    "Config",
    "DocumentNovelty",
    "Evaluation",
    "GeneratedText",
    "LearningCurves",
    "LossReport",
    "Mixture",
    "Model",
    "Novelty",
    "Prediction",
    "RunSummary",
    "SweepReport",
    "Trace",
    "TrainEvent",
    "error_kinds",
    "evaluate",
    "evaluate_ngrams",
    "evaluate_runs",
    "find_cells",
    "learning_curves",
    "load",
    "long_range",
    "losses_by_char",
    "losses_by_line",
    "match_cells",
    "mix",
    "read_sweep",
    "resume",
    "run_summaries",
    "sweep",
    "tracked",
    "train",
    "training_spectrum",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'charrnn' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
