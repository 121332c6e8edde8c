"""Refuse what a model with damaged weights computes, where its statistics would be meaningless."""

from torch import Tensor

from charrnn.errors import CheckpointError


def check_finite(values: Tensor, what: str) -> None:
    """Raise CheckpointError if values of a model, named by `what`, are not all finite numbers."""
    if not values.isfinite().all():
        raise CheckpointError(
            f"Some {what} of this model are not finite numbers: its weights are damaged, or its state grows without "
            "bound. Use another checkpoint."
        )
