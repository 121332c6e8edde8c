"""Integer dot products: exact on every instruction set that this machine has, whatever the shape
and the inputs."""

import numpy as np
import pytest

from charrnn.model.portable_math import Matrix

pytest.importorskip("numba")
from numba import njit

from charrnn.compiled import dot_products
from charrnn.compiled.dot_products import (
    ALIGNMENT,
    COLUMN_MULTIPLE,
    choose_instruction_set,
    make_dot,
)

AVAILABLE = [
    found
    for found in dot_products.INSTRUCTION_SETS
    if not found.feature or f"+{found.feature}," in f"{dot_products.FEATURES},"
]


def inputs_of(x, bits, chosen):
    """Whole numbers (B, C) as the bytes (B, 2 * padded C) that an instruction set reads."""
    width = dot_products.padded(x.shape[1], COLUMN_MULTIPLE)
    if not chosen.splits_inputs:
        shorts = np.zeros((len(x), width), np.int16)
        shorts[:, : x.shape[1]] = x
        return shorts.view(np.uint8)
    whole = np.zeros((len(x), 2, width), np.uint8)
    whole[:, 0, : x.shape[1]], whole[:, 1, : x.shape[1]] = (x + 2**bits) & 255, (x + 2**bits) >> 8
    return whole.reshape(len(x), -1)


def make_product(chosen):
    """All sums, by the function for several streams and, for those that are left, the one for one
    stream."""
    rows, streams = chosen.rows, chosen.streams
    dot_one, dot_many = make_dot(1, chosen), make_dot(streams, chosen)

    @njit
    def run(values, start, inputs, sums):
        num_columns, together = inputs.shape[1] // 2, len(inputs) - len(inputs) % streams
        for row in range(0, len(start), rows):
            weights, begin = (
                np.int64(values.ctypes.data) + row * num_columns,
                np.int64(start.ctypes.data) + 4 * row,
            )
            for stream in range(0, together, streams):
                x, out = inputs[stream].ctypes.data, sums[stream].ctypes.data
                dot_many(
                    weights,
                    num_columns,
                    x,
                    inputs.strides[0],
                    begin,
                    np.int64(out) + 4 * row,
                    sums.strides[0],
                )
            for stream in range(together, len(inputs)):
                x, out = inputs[stream].ctypes.data, sums[stream].ctypes.data
                dot_one(weights, num_columns, x, 0, begin, np.int64(out) + 4 * row, 0)

    def product(matrix, x):
        packed = dot_products.pack_matrix(matrix, chosen)
        sums = np.zeros((len(x), len(packed.start)), np.int32)
        run(packed.values, packed.start, inputs_of(x, matrix.bits, chosen), sums)
        assert not sums[:, len(matrix.values) :].any(), "rows that only fill a group are zero"
        return sums[:, : len(matrix.values)]

    return product


@pytest.mark.parametrize("chosen", AVAILABLE, ids=lambda chosen: chosen.name)
def test_sums_are_exact(chosen):
    product, generator = make_product(chosen), np.random.default_rng(1)
    for num_rows, num_columns, bits in (
        (1, 1, dot_products.MOST_BITS),
        (65, 21, 12),
        (130, 129, 10),
        (7, 512, 8),
    ):
        values = generator.integers(-127, 128, (num_rows, num_columns))
        x = generator.integers(-(2**bits), 2**bits + 1, (5, num_columns))
        # The largest inputs and weights there are, of both signs: int16 sums of them would
        # saturate.
        x[0], x[1], values[0] = 2**bits, -(2**bits), 127
        matrix = Matrix(np.zeros(values.shape), is_int8=False)
        matrix.values, matrix.bits = values.astype(np.int8), bits
        assert np.array_equal(product(matrix, x), x @ values.T)


def test_the_best_instruction_set_of_a_processor_is_chosen():
    names = [
        choose_instruction_set(f"+sse2,{more}").name
        for more in ("", "+avx2", "+avx2,+avx512f,+avx512bw")
    ]
    assert names == ["generic", "avx2", "avx512"]
    assert choose_instruction_set("+avx2,+avxvnni,-avx512vnni").name == "avx-vnni"
    assert choose_instruction_set("+avx2,+avx512bw,+avx512vnni,+avxvnni").name == "avx512-vnni"
    assert (
        choose_instruction_set("+neon,+dotprod").name
        == choose_instruction_set("").name
        == "generic"
    )


def test_every_array_starts_on_a_cache_line_behind_the_one_before():
    sizes = [3, 0, 560]
    memory, addresses = dot_products.allocate(sizes)
    assert not (addresses % ALIGNMENT).any() and (np.diff(addresses) >= sizes[:-1]).all()
    begin = memory.ctypes.data
    assert begin <= addresses[0] and addresses[-1] + sizes[-1] <= begin + memory.nbytes
    assert not memory.any()
