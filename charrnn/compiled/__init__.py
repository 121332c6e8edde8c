"""Loops compiled by numba: long texts and the coder of `compress`."""

from charrnn.hooks.extensions import CompiledSampling

EXTENSIONS = (
    CompiledSampling(module="charrnn.compiled.sampling", loops=("read", "write")),
    CompiledSampling(module="charrnn.compiled.coding", loops=("code",)),
)
"""What this room offers without importing a module."""
