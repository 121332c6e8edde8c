"""Records of models that were written to a file."""

from dataclasses import dataclass
from pathlib import Path

from charrnn.display import Displayable


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxCheck:
    """How closely onnxruntime computes what the model computes, over a text that the model wrote."""

    num_chars: int
    """Characters of the text."""
    max_difference: float
    """The largest absolute difference of a logit, with the state carried through the whole text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedModel(Displayable):
    """A file that contains a model."""

    path: Path
    num_bytes: int
    """Size of the file."""
    check: OnnxCheck | None = None
    """The check of an .onnx file; None for other formats, and without onnxruntime."""
    notes: tuple[str, ...] = ()
    """What a reader must know of the file, one sentence each."""
