"""Cell values as text, with 4 bits each.

Shapes: N values.
"""

import base64

import numpy as np
from numpy.typing import NDArray

NUM_LEVELS = 7
"""Levels on either side of 0."""


def pack(values: NDArray[np.float32]) -> tuple[float, str]:
    """Encode values (N,) as (scale, base64): levels from -7 to 7 in units of scale / 7.

    There are two in a byte, the first in its upper half. The scale is the largest absolute value. `unpack` restores the
    values to scale / 14.
    """
    scale = float(np.abs(values).max(initial=0))
    levels = np.zeros(len(values) + len(values) % 2, np.int8)
    if scale > 0:
        levels[: len(values)] = np.rint(NUM_LEVELS * (values / scale))
    pairs = (levels[::2] << 4) | (levels[1::2] & 15)
    return scale, base64.b64encode(pairs.astype(np.int8).tobytes()).decode("ascii")


def unpack(packed: str, scale: float, num_values: int) -> NDArray[np.float32]:
    """Return the first `num_values` values that `pack` encoded with this scale."""
    pairs = np.frombuffer(base64.b64decode(packed), np.int8)
    levels = np.stack([pairs >> 4, (pairs << 4) >> 4], axis=1).ravel()[:num_values]
    return (levels * (scale / NUM_LEVELS)).astype(np.float32)
