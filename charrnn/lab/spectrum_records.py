"""What training does to the recurrent matrices of a network, and how large its gradients are."""

from dataclasses import asdict, dataclass, field
from typing import Any

from charrnn.display import Displayable


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixSpectrum:
    """The largest singular value and the spectral radius of one recurrent matrix (H, H) at every checkpoint."""

    layer: int
    matrix: str
    """`W_hh`, `W_mh`, or `U` for the matrix of a unitary cell."""
    gate: str
    """The letter of the gate or candidate whose block of rows it is; "" for a cell type without gates."""
    largest_singular_values: tuple[float, ...] = field(repr=False)
    spectral_radii: tuple[float, ...] = field(repr=False)
    """The largest absolute eigenvalues."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSpectrum(Displayable):
    """The recurrent matrices of a run at its checkpoints, and the norms of its gradients."""

    name: str
    cell: str
    clip_norm: float
    """Norm to which larger gradients are clipped."""
    steps: tuple[int, ...]
    """The steps of the checkpoints."""
    matrices: tuple[MatrixSpectrum, ...]
    gradient_steps: tuple[int, ...] = field(repr=False)
    gradient_norms: tuple[float, ...] = field(repr=False)
    """Norms before clipping; of a long training the largest of each group of steps."""

    def to_json(self) -> dict[str, Any]:
        """Return all fields as one object."""
        return asdict(self)
