"""Find a cell type by its name; one of another package is checked before it is used.

The check runs the cell's `step` in NumPy, on B = 3 rows of H = 8 units, with functions that record
their calls. It takes milliseconds. A mistake that it does not find would show up during training,
or as a false finding about a cell.

Shapes: B batch, H hidden, as in `model.cell_types`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from charrnn.errors import UsageError, counted
from charrnn.hooks.manager import LEFT_OUT, find_extension
from charrnn.hooks.specifications import cell_types
from charrnn.model.cell_types import CELLS, Cell, Ops
from charrnn.model.portable_math import NUMPY, Float32Array

Call = Callable[..., Any]
"""(function, *arguments): calls code of another package; what it raises becomes a UsageError."""

NUM_ROWS, HIDDEN_SIZE = 3, 8
"""B and H of the check: different, and H even, as the unitary cell needs it."""
NUM_STEPS = 200
"""Steps with large inputs, after which a state that grows without bound has left [-1, 1]."""
LARGE_INPUT = 10.0
"""Absolute value of those inputs."""
CLAMPED_VALUE = 0.5
"""The cell value at which a unit is clamped to test the clamp."""
TOLERANCE = 1e-3
"""Allowed rounding error of a cell value: far more than that of tanh(atanh(x)) in float32."""
INITIAL_VALUES = ("zeros", "angles", "uniform", "permutation")
"""What `Cell.extras` may name."""


class _BrokenPromise(BaseException):
    """Says what a cell does wrong. It is no `Exception`, so that the code of a package does not
    catch it."""


@cache
def cell_type(name: str) -> type[Cell]:
    """Return the built-in cell type `name`, or the one that an installed package provides by that
    name.

    Importing the package runs its code. Raises UsageError that names the package, where what it
    provides is no cell, or one that does not do what `Cell` promises.
    """
    if name in CELLS:
        return CELLS[name]

    # A cell of an installed package, or else the reasons why there is none.
    plugin = find_extension(
        cell_types,
        kind="cell",
        name=name,
        built_in=CELLS,
    )
    if plugin is None:
        reasons = "".join(f"\n{reason}" for reason in LEFT_OUT)
        raise UsageError(f"No installed package provides the cell {name!r}.{reasons}")

    # Checked once per process: what is returned is kept.
    cell = plugin.load()
    if not (isinstance(cell, type) and issubclass(cell, Cell)):
        raise UsageError(f"The {plugin} is no subclass of charrnn.model.cell_types.Cell.")
    validate_cell_type(f"The {plugin}", cell=cell, call=plugin.run)
    return cell


def validate_cell_type(what: str, cell: type[Cell], call: Call) -> None:
    """Raise UsageError, whose message starts with `what`, unless a cell does what `Cell`
    promises."""
    try:
        _check_attributes(cell)
        with np.errstate(all="ignore"):  # large inputs may overflow; what matters is the result
            _Trial(cell, call).check()
    except _BrokenPromise as problem:
        raise UsageError(f"{what}: {problem}") from None


def _check_attributes(cell: type[Cell]) -> None:
    """Raise _BrokenPromise for an attribute that is not what `Cell` says. A check relies on those
    before it."""

    def check(name: str, *, is_right: bool, wanted: str) -> None:
        if not is_right:
            raise _BrokenPromise(f"`{name}` is {getattr(cell, name)!r}; it must {wanted}.")

    # Counts, from which shapes follow.
    count = "be an integer, at least 1"
    check("input_blocks", is_right=_is_count(cell.input_blocks), wanted=count)
    check("num_states", is_right=_is_count(cell.num_states), wanted=count)
    check(
        "products",
        is_right=_are_products(cell.products),
        wanted="map names other than 'ih' to integers, at least 1",
    )

    # Names of blocks and gates, by which reports and pages call them.
    num_blocks = max((cell.input_blocks, *cell.products.values()))
    is_lettered = isinstance(cell.block_letters, str) and len(cell.block_letters) in (0, num_blocks)
    check(
        "block_letters",
        is_right=is_lettered,
        wanted=f"be empty or have a letter for each of {num_blocks} blocks",
    )
    check(
        "gates",
        is_right=_are_names(cell.gates),
        wanted="be a tuple of strings, such as ('z', 'r')",
    )
    check(
        "keeping_gate",
        is_right=cell.keeping_gate in (None, *cell.gates),
        wanted="be None or one of `gates`",
    )

    # What training needs.
    check(
        "forget_block",
        is_right=cell.forget_block in (None, *range(cell.input_blocks)),
        wanted="be None or below `input_blocks`",
    )
    check(
        "peak_rate",
        is_right=isinstance(cell.peak_rate, float) and 0 < cell.peak_rate < 1,
        wanted="be a float between 0 and 1",
    )
    check(
        "units_multiple",
        is_right=cell.units_multiple in (1, 2, 4, 8),
        wanted="be 1, 2, 4 or 8",
    )

    # What views show of a unit, which must follow from its memory alone.
    shown = ("tanh(c)",) if cell.num_states > 1 else ("h", "tanh(h)")
    check(
        "shows",
        is_right=cell.shows in shown,
        wanted="be tanh(c) if there is a memory c, as `num_states` says, else h or tanh(h)",
    )


def _is_count(value: object) -> bool:
    # Python's True is an int.
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _are_products(value: object) -> bool:
    return isinstance(value, Mapping) and all(map(_is_count, value.values())) and "ih" not in value


def _are_names(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(name, str) for name in value)


class _Trial:
    """A cell with small random weights, and a record of what its `step` calls."""

    def __init__(self, cell: type[Cell], call: Call) -> None:
        """Draw the weights. Raises _BrokenPromise where the cell breaks a rule, UsageError where
        its code fails."""
        self.cell = cell
        self.call = call

        # What `step` calls, filled in while it runs.
        self.num_clamped = 0
        self.num_gates = 0
        self.multiplied: set[str] = set()
        """Names of the recurrent weights that were used."""

        # The weights: those of `extras` first, whose code may fail.
        self.random = np.random.default_rng(0)
        extras = call(cell.extras, HIDDEN_SIZE)
        if not isinstance(extras, Mapping):
            raise _BrokenPromise(
                f"`extras` returns a {type(extras).__name__}; it must be a dictionary."
            )
        self.extras = {
            name: self._draw_extra(name, parameter) for name, parameter in extras.items()
        }
        self.weights = {
            name: call(cell.effective_weight, self._draw((num_blocks * HIDDEN_SIZE, HIDDEN_SIZE)))
            for name, num_blocks in cell.products.items()
        }

    def _draw(self, shape: tuple[int, ...]) -> Float32Array:
        # Small, as of a network that begins to learn: functions are then far from their limits.
        return self.random.uniform(-0.1, 0.1, shape).astype(np.float32)

    def _draw_extra(self, name: str, parameter: Any) -> Any:
        is_pair = isinstance(parameter, tuple) and len(parameter) == 2
        if not (is_pair and isinstance(parameter[0], tuple)):
            raise _BrokenPromise(
                f"`extras` gives {name!r} as {parameter!r}; it must be (shape, initial values)."
            )

        shape, kind = parameter
        if kind not in INITIAL_VALUES:
            allowed = ", ".join(INITIAL_VALUES)
            raise _BrokenPromise(
                f"`extras` gives {name!r} the initial values {kind!r}; they are {allowed}."
            )
        if kind == "permutation":
            return self.random.permutation(shape[0])
        return self._draw(shape)

    def check(self) -> None:
        """Run the cell. Raises as the constructor."""
        # One step from zeros, with functions that record and one unit that is clamped.
        x = self.random.standard_normal(
            (NUM_ROWS, self.cell.input_blocks * HIDDEN_SIZE), np.float32
        )
        start = tuple(np.zeros((self.cell.num_states, NUM_ROWS, HIDDEN_SIZE), np.float32))
        recorded = replace(NUMPY, sigmoid=self._sigmoid, clamp=self._clamp)
        state = self._step(recorded, x=x, before=start)
        self._check_calls()
        self._check_clamp(state)

        # A value that grows without bound leaves [-1, 1] after some steps.
        large = np.where(x < 0, -LARGE_INPUT, LARGE_INPUT).astype(np.float32)
        state = start
        for _ in range(NUM_STEPS):
            state = self._step(NUMPY, x=large, before=state)
        largest = float(np.abs(self.call(self.cell.value, NUMPY, state)).max())
        if not largest <= 1 + TOLERANCE:
            raise _BrokenPromise(
                f"its values must stay in [-1, 1], and large inputs give {largest:.3g}.\n"
                'If h is not bounded, set `shows = "tanh(h)"`.'
            )

    def _step(
        self, ops: Ops[Float32Array], x: Float32Array, before: tuple[Float32Array, ...]
    ) -> Any:
        """Compute one step; raise _BrokenPromise for a result that is no state."""
        # Shapes that do not fit are the commonest mistake: say what they were.
        try:
            state = self.call(self.cell.step, ops, x, self._product, before, self.extras)
        except UsageError as error:
            sizes = [f"B is {NUM_ROWS}", f"H is {HIDDEN_SIZE}", f"x is {x.shape}"]
            for name, weight in self.weights.items():
                sizes.append(f"product({name!r}, h) is {NUM_ROWS, len(weight)}")
            raise UsageError(
                f"{error.marked}\n{', '.join(sizes)}: do `input_blocks` and `products` agree with"
                " `step`?"
            ) from error

        # A state is a tuple of arrays (B, H).
        shapes = None
        found = f"a {type(state).__name__}"
        if isinstance(state, tuple):
            shapes = [getattr(part, "shape", None) for part in state]
            found = f"a tuple of arrays {shapes}"
        if shapes != [(NUM_ROWS, HIDDEN_SIZE)] * self.cell.num_states:
            raise _BrokenPromise(
                f"`step` returns {found}. As `num_states` is {self.cell.num_states}, it must return"
                f" a tuple of {counted(self.cell.num_states, 'array')} (B, H), the output h first."
            )
        return state

    def _product(self, name: str, h: Any) -> Float32Array:
        if name not in self.weights:
            raise _BrokenPromise(f"`step` multiplies with {name!r}, which is not in `products`.")
        self.multiplied.add(name)
        return np.asarray(h @ self.weights[name].T)

    def _sigmoid(self, x: Any) -> Any:
        # Every call is a gate: reports show gates in the order of the calls.
        self.num_gates += 1
        return NUMPY.sigmoid(x)

    def _clamp(self, memory: Any) -> Any:
        self.num_clamped += 1

        # A copy, as the functions of a cell may not change their arguments.
        memory = memory.copy()
        memory[:, 0] = self.cell.memory(CLAMPED_VALUE)
        return memory

    def _check_calls(self) -> None:
        """Raise _BrokenPromise unless `step` has called each function as often as it should."""
        if self.num_clamped != 1:
            raise _BrokenPromise(
                f"`step` calls `ops.clamp` {counted(self.num_clamped, 'time')}; it must pass its"
                " memory (c if there is one, else h) through it once. Otherwise, clamping and"
                " ablating have no effect, or a wrong one."
            )

        if unused := set(self.cell.products) - self.multiplied:
            raise _BrokenPromise(
                f"`products` has {min(unused)!r}, with which `step` does not multiply."
            )

        if self.num_gates != len(self.cell.gates):
            raise _BrokenPromise(
                f"`step` calls `ops.sigmoid` {counted(self.num_gates, 'time')}, but `gates` has"
                f" {counted(len(self.cell.gates), 'name')}. Name each gate, in the order of the"
                " calls.\nCompute a sigmoid that is no gate as 0.5 * ops.tanh(0.5 * x) + 0.5."
            )

    def _check_clamp(self, state: tuple[Float32Array, ...]) -> None:
        """Raise _BrokenPromise unless the first unit of a state has the value at which it was
        clamped."""
        # The memory is the last state.
        if not np.allclose(state[-1][:, 0], self.cell.memory(CLAMPED_VALUE), atol=TOLERANCE):
            raise _BrokenPromise(
                "`step` must return the result of `ops.clamp`, unchanged, as its last state: that"
                " is the memory."
            )

        # The value must be the inverse of `Cell.memory`.
        values = self.call(self.cell.value, NUMPY, state)
        is_shaped = np.shape(values) == state[-1].shape
        if not is_shaped or not np.allclose(values[:, 0], CLAMPED_VALUE, atol=TOLERANCE):
            raise _BrokenPromise(
                f"`shows` is {self.cell.shows}, but `value` computes something else than"
                f" {CLAMPED_VALUE} for a unit that is clamped there.\nLeave `value` out."
            )
