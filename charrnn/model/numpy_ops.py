"""The functions that the equations of cells and depths need, in NumPy; see `model.ops`."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from charrnn.model.ops import Ops
from charrnn.model.portable_math import exact_cos, exact_fft, exact_ifft, exact_sin
from charrnn.model.weights import Float32Array, exact_tanh


def _parts(z: NDArray[np.complex128]) -> tuple[Float32Array, Float32Array]:
    return z.real.astype(np.float32), z.imag.astype(np.float32)


NUMPY: Ops[Float32Array] = Ops(
    # Through tanh, which cannot overflow; exp(-x) would warn far from zero.
    sigmoid=lambda x: 0.5 * np.tanh(0.5 * x) + 0.5,
    tanh=np.tanh,
    relu=lambda x: np.maximum(x, 0),
    sqrt=np.sqrt,
    cos=np.cos,
    sin=np.sin,
    split=lambda x, blocks: np.split(x, blocks, axis=-1),
    cat=lambda parts: np.concatenate(parts, axis=-1),
    permute=lambda x, order: x[..., order],
    fft=lambda re, im: _parts(np.fft.fft(re + 1j * im, norm="ortho")),
    ifft=lambda re, im: _parts(np.fft.ifft(re + 1j * im, norm="ortho")),
    clamp=lambda memory: memory,
)
"""The equations' functions in NumPy."""
EXACT: Ops[Float32Array] = replace(
    NUMPY,
    tanh=exact_tanh,
    sigmoid=lambda x: 0.5 * exact_tanh(np.float32(0.5) * x) + 0.5,
    cos=exact_cos,
    sin=exact_sin,
    fft=exact_fft,
    ifft=exact_ifft,
)
"""The same functions from operations that round alike on every processor."""
