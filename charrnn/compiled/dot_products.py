"""Exact products of 8-bit weights and integer inputs, by the integer dot-product instructions of
the processor.

`model.portable_math.Matrix` rounds inputs to at most `MOST_BITS` bits plus a sign and guarantees
that every sum of products is below 2^24. Sums of int32 wrap around modulo 2^32, so any order and
any intermediate overflow give the exact sum. LLVM does not choose these instructions by itself, so
the loops are written in LLVM IR.

`vpdpbusd` multiplies four unsigned bytes by four signed bytes and adds the products to an int32 in
each lane; `vpmaddwd` does the same with two int16. So the weights of a group are stored in the
order in which they are read: for each block of four (or two) columns, the block of every row. A
load fills a register, no sum crosses lanes, and the same input is broadcast to all lanes. An input
of 14 bits and a sign is two bytes after an offset, and the sum of the high bytes is shifted at the
end.

Numba has no types for registers and no functions for these instructions, so an intrinsic that
calls them is LLVM IR, too. Plain loops of numba take 3.8 times as long to sample 20,000 characters
with AVX512-VNNI, and 1.3 to 1.8 times with AVX2 (a 1x256 LSTM; benchmarks/LOG.md, 2026-11-27).

Shapes: B streams, R rows, C columns, G groups of rows. A group has VECTORS vectors of `lanes` rows
each.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from llvmlite.ir import IRBuilder, Type, Value  # type: ignore[import-untyped]
from numba import types
from numba.core.registry import cpu_target
from numba.core.typing.templates import Signature
from numba.extending import intrinsic
from numba.np import arrayobj
from numpy.typing import NDArray

from charrnn.model.portable_math import Matrix
from charrnn.system.compiling import for_loops

Address = int
"""An address in memory, as compiled code reads it."""
Longs = NDArray[np.int64]
"""An array of int64."""
MOST_BITS = 14
"""Largest number of bits of an input: +-2^14 fits into an int16, and into two unsigned bytes after
adding 2^14."""
VECTORS = 4
"""Vectors of rows that are summed at once: enough independent sums to hide the latency of an
instruction."""
COLUMN_MULTIPLE = 8
"""Columns are padded with zeros to a multiple of this."""
ALIGNMENT = 64
"""Bytes of a cache line."""

populate_array: Any = arrayobj.populate_array
"""Numba's function that fills in the fields of an array."""
INT8 = ir.IntType(8)
"""Type of a weight."""
INT16 = ir.IntType(16)
"""Type of a product of two weights."""
INT32 = ir.IntType(32)
"""Type of a sum of products."""
INT64 = ir.IntType(64)
"""Type of an index."""


class InstructionSet(NamedTuple):
    """The instructions with which a processor multiplies and adds integers."""

    name: str
    feature: str
    """The LLVM feature that the processor needs; "" for none."""
    function: str
    """The LLVM intrinsic; "" for plain LLVM IR."""
    lanes: int
    """int32 sums in a vector."""
    depth: int
    """Columns that an instruction adds into a lane: 4 of bytes, or 2 of int16."""
    streams: int
    """Streams that share each loaded weight, as many as registers allow."""

    @property
    def splits_inputs(self) -> bool:
        """Whether an input is split into two unsigned bytes, because the instruction takes only
        bytes."""
        return self.depth == 4

    @property
    def rows(self) -> int:
        """Rows of a group."""
        return VECTORS * self.lanes


INSTRUCTION_SETS = (
    InstructionSet(
        name="avx512-vnni",
        feature="avx512vnni",
        function="llvm.x86.avx512.vpdpbusd.512",
        lanes=16,
        depth=4,
        streams=2,
    ),
    InstructionSet(
        name="avx-vnni",
        feature="avxvnni",
        function="llvm.x86.avx512.vpdpbusd.256",
        lanes=8,
        depth=4,
        streams=2,
    ),
    InstructionSet(
        name="avx512",
        feature="avx512bw",
        function="llvm.x86.avx512.pmaddw.d.512",
        lanes=16,
        depth=2,
        streams=4,
    ),
    InstructionSet(
        name="avx2",
        feature="avx2",
        function="llvm.x86.avx2.pmadd.wd",
        lanes=8,
        depth=2,
        streams=2,
    ),
    InstructionSet(
        name="generic",
        feature="",
        function="",
        lanes=4,
        depth=2,
        streams=2,
    ),
)
"""Instruction sets, best first. `pmaddubsw` is not used, because its sums of int16 saturate."""


def choose_instruction_set(features: str) -> InstructionSet:
    """Return the best instruction set for a comma-separated list of LLVM features such as
    "+avx2,-avx512f"."""
    has = {feature[1:] for feature in features.split(",") if feature.startswith("+")}
    return next(
        instructions
        for instructions in INSTRUCTION_SETS
        if not instructions.feature or instructions.feature in has
    )


FEATURES = cpu_target.target_context.codegen().magic_tuple()[-1]
"""The features of the processor that numba compiles for, with NUMBA_CPU_NAME and
NUMBA_CPU_FEATURES."""
CHOSEN = choose_instruction_set(FEATURES)
"""The instruction set of this processor."""


class Packed(NamedTuple):
    """A matrix in the order in which the loops read it."""

    values: NDArray[np.int8]
    """(G * VECTORS * lanes * padded C,), group by group; in a group: column block, vector, lane,
    column."""
    start: NDArray[np.int32]
    """(padded R,) initial values of the sums, which subtract the 2^bits that may have been added to
    each input."""


@for_loops
def padded(size: int, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is at least `size`."""
    return -(-size // multiple) * multiple


def pack_matrix(matrix: Matrix, chosen: InstructionSet = CHOSEN) -> Packed:
    """Reorder a matrix with 0 < bits <= MOST_BITS."""
    # Zeros fill up the last group of rows and the last block of columns.
    num_rows, num_columns = matrix.values.shape
    shape = padded(num_rows, multiple=chosen.rows), padded(num_columns, multiple=COLUMN_MULTIPLE)
    values = np.zeros(shape, np.int8)
    values[:num_rows, :num_columns] = matrix.values

    # Inputs of two bytes have an offset of 2^bits, so that they are never negative.
    start = np.zeros(shape[0], np.int32)
    if chosen.splits_inputs:
        start[:] = -(2**matrix.bits) * values.sum(axis=1, dtype=np.int64)

    # In the order of the loop, which then reads the memory from one end to the other.
    blocks = values.reshape(-1, VECTORS, chosen.lanes, shape[1] // chosen.depth, chosen.depth)
    return Packed(blocks.transpose(0, 3, 1, 2, 4).ravel(), start)


def allocate(sizes: Sequence[int]) -> tuple[NDArray[np.uint8], Longs]:
    """Allocate zeros for arrays of `sizes` bytes, and return this memory and their addresses. Each
    array starts a cache line, so that no vector crosses two lines."""
    # NumPy aligns to less than a line, so a line more is allocated, and the first bytes are left
    # out.
    ends = np.cumsum([0, *(padded(size, multiple=ALIGNMENT) for size in sizes)])
    memory = np.zeros(int(ends[-1]) + ALIGNMENT, np.uint8)
    return memory, padded(memory.ctypes.data, multiple=ALIGNMENT) + ends[:-1]


def make_view(dtype: types.Type) -> Any:
    """Make a function for compiled code: (address, size) to a vector of a numba type. The memory
    must outlive it."""

    @intrinsic
    def view(typing_context: object, address: types.Type, size: types.Type) -> object:
        vector = types.Array(dtype, 1, "C")

        def generate(
            context: Any,
            builder: IRBuilder,
            signature: Signature,
            arguments: Sequence[Value],
        ) -> Value:
            at, length = arguments
            array = context.make_array(vector)(context, builder)
            num_bytes = context.get_abi_sizeof(context.get_data_type(dtype))
            stride = ir.Constant(INT64, num_bytes)
            pointer = builder.inttoptr(at, context.get_data_type(dtype).as_pointer())
            populate_array(array, pointer, [length], [stride], stride, None)
            return array._getvalue()

        return vector(types.int64, types.int64), generate

    return view


bytes_at = make_view(types.uint8)
shorts_at = make_view(types.int16)
whole_at = make_view(types.int32)
longs_at = make_view(types.int64)
floats_at = make_view(types.float32)


def make_dot(num_streams: int, chosen: InstructionSet = CHOSEN) -> Any:
    """Make a function for compiled code: the products of a group of rows with the inputs of
    `num_streams` streams.

    Its arguments are int64: the address of the group's weights, the padded number of columns, the
    address of the first stream's inputs, the bytes from one stream's inputs to the next, the
    address of the group's `start`, the address of the first stream's sums of this group (int32),
    and the bytes from one stream's sums to the next.
    """

    @intrinsic
    def dot(
        typing_context: object,
        weights: types.Type,
        num_columns: types.Type,
        inputs: types.Type,
        input_stride: types.Type,
        start: types.Type,
        sums: types.Type,
        sum_stride: types.Type,
    ) -> object:
        def generate(
            context: Any,
            builder: IRBuilder,
            signature: Signature,
            arguments: Sequence[Value],
        ) -> Value:
            _Emitter(
                builder,
                chosen=chosen,
                num_streams=num_streams,
            ).emit(*arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), generate

    return dot


class _Emitter:
    """Emits the loop over column blocks in LLVM IR. Sums stay in registers until the end."""

    def __init__(self, builder: IRBuilder, chosen: InstructionSet, num_streams: int):
        self.builder = builder
        self.chosen = chosen
        self.num_streams = num_streams

        # The types of a register: sums, bytes of weights, and these bytes as int16.
        self.sums = ir.VectorType(INT32, chosen.lanes)
        self.bytes = ir.VectorType(INT8, chosen.lanes * chosen.depth)
        self.shorts = ir.VectorType(INT16, chosen.lanes * 2)
        self.multiply_add = self._multiply_add_function()

    def _multiply_add_function(self) -> Callable[[Value, Value, Value], Value]:
        """Return a function that emits an instruction: (sum, input, weights) to the new sum."""
        builder = self.builder
        name = self.chosen.function

        # Four bytes times four bytes, added to a sum.
        if self.chosen.splits_inputs:
            # Newer versions of LLVM declare the factors as bytes, and still accept the int32 of
            # older versions.
            function = self._declare(name, (self.sums, self.sums, self.sums))
            return lambda total, x, w: builder.call(
                function, (total, x, builder.bitcast(w, self.sums))
            )

        # Two int16 times two int16; another instruction adds their sum.
        if name:
            function = self._declare(name, (self.shorts, self.shorts))
            return lambda total, x, w: builder.add(
                total, builder.call(function, (w, builder.bitcast(x, self.shorts)))
            )

        # The same by plain LLVM IR, for which LLVM chooses `pmaddwd` of SSE2 on old processors.
        wide = ir.VectorType(INT32, 2 * self.chosen.lanes)

        def add_pairs(total: Value, x: Value, w: Value) -> Value:
            wide_x = builder.sext(builder.bitcast(x, self.shorts), wide)
            product = builder.mul(builder.sext(w, wide), wide_x)
            lanes = list(range(2 * self.chosen.lanes))
            even = self._shuffle(product, order=lanes[::2], kind=wide)
            odd = self._shuffle(product, order=lanes[1::2], kind=wide)
            return builder.add(total, builder.add(even, odd))

        return add_pairs

    def _declare(self, name: str, arguments: Sequence[Type]) -> Value:
        module = self.builder.module
        return module.globals.get(name) or module.declare_intrinsic(
            name, (), ir.FunctionType(self.sums, arguments)
        )

    def _shuffle(self, vector: Value, order: list[int], kind: Type) -> Value:
        order = ir.Constant(ir.VectorType(INT32, len(order)), order)
        return self.builder.shuffle_vector(vector, ir.Constant(kind, ir.Undefined), order)

    def _offset(self, address: Value, num_bytes: int) -> Value:
        return self.builder.add(address, ir.Constant(INT64, num_bytes))

    def _load(self, kind: Type, address: Value) -> Value:
        return self.builder.load(self.builder.inttoptr(address, kind.as_pointer()), align=1)

    def _broadcast(self, address: Value) -> Value:
        """Emit four bytes of input, the same for every row."""
        zero = ir.Constant(INT32, 0)
        vector = self.builder.insert_element(
            ir.Constant(self.sums, ir.Undefined), self._load(INT32, address), zero
        )
        return self._shuffle(vector, order=[0] * self.chosen.lanes, kind=self.sums)

    def emit(
        self,
        weights: Value,
        num_columns: Value,
        inputs: Value,
        input_stride: Value,
        start: Value,
        sums: Value,
        sum_stride: Value,
    ) -> None:
        """Emit the loop and, after it, the stores."""
        # The addresses of the inputs of each stream, and its initial sums.
        builder = self.builder
        streams = []
        initial = []
        for stream in range(self.num_streams):
            offset = builder.mul(input_stride, ir.Constant(INT64, stream))
            streams.append(builder.add(inputs, offset))
            for vector in range(VECTORS):
                at = self._offset(start, vector * 4 * self.chosen.lanes)
                initial.append(self._load(self.sums, at))
                if self.chosen.splits_inputs:
                    # The high bytes of an input are summed separately, from zero.
                    initial.append(ir.Constant(self.sums, None))

        # The loop over the blocks, with the sums in registers.
        num_blocks = builder.sdiv(num_columns, ir.Constant(INT64, self.chosen.depth))
        before = builder.block
        loop = builder.append_basic_block("dot")
        after = builder.append_basic_block("dot_end")
        builder.branch(loop)
        builder.position_at_end(loop)

        # The number of the block and the sums: their values before the loop, or after its last
        # turn.
        block = builder.phi(INT64)
        block.add_incoming(ir.Constant(INT64, 0), before)
        totals = [builder.phi(self.sums) for _ in initial]
        for total, value in zip(totals, initial, strict=True):
            total.add_incoming(value, before)

        new = self._add_block(
            totals,
            block=block,
            weights=weights,
            num_columns=num_columns,
            streams=streams,
        )
        next_block = self._offset(block, 1)
        block.add_incoming(next_block, loop)
        for total, value in zip(totals, new, strict=True):
            total.add_incoming(value, loop)

        builder.cbranch(builder.icmp_signed("<", next_block, num_blocks), loop, after)
        builder.position_at_end(after)
        self._store(new, sums=sums, sum_stride=sum_stride)

    def _add_block(
        self,
        totals: list[Value],
        block: Value,
        weights: Value,
        num_columns: Value,
        streams: list[Value],
    ) -> list[Value]:
        """Emit the products of a column block, and return the new sums."""
        # The weights of all rows, each loaded once.
        builder = self.builder
        chosen = self.chosen
        num_bytes = chosen.lanes * chosen.depth
        first = builder.add(weights, builder.mul(block, ir.Constant(INT64, VECTORS * num_bytes)))
        loaded = [
            self._load(self.bytes, self._offset(first, vector * num_bytes))
            for vector in range(VECTORS)
        ]
        if chosen.function and not chosen.splits_inputs:
            loaded = [builder.sext(w, self.shorts) for w in loaded]

        # The same for each stream with its inputs, in the order of the sums.
        at = builder.mul(block, ir.Constant(INT64, 4))
        new: list[Value] = []
        for stream in streams:
            low = builder.add(stream, at)
            inputs = [self._broadcast(low)]
            if chosen.splits_inputs:
                inputs.append(self._broadcast(builder.add(low, num_columns)))
            for w in loaded:
                for x in inputs:
                    new.append(self.multiply_add(totals[len(new)], x, w))
        return new

    def _store(self, totals: list[Value], sums: Value, sum_stride: Value) -> None:
        """Emit the stores of the sums; the sums of the high bytes are joined to the sums of the low
        bytes."""
        builder = self.builder
        remaining = iter(totals)
        eight = ir.Constant(self.sums, [8] * self.chosen.lanes)
        for stream in range(self.num_streams):
            first = builder.add(sums, builder.mul(sum_stride, ir.Constant(INT64, stream)))
            for vector in range(VECTORS):
                total = next(remaining)
                if self.chosen.splits_inputs:
                    high = next(remaining)
                    total = builder.add(total, builder.shl(high, eight))
                address = self._offset(first, vector * 4 * self.chosen.lanes)
                builder.store(total, builder.inttoptr(address, self.sums.as_pointer()), align=1)
