"""Find a cell type by its name; one of another package is checked before it is used.

The check runs the cell's `step` in NumPy, on B = 3 rows of H = 8 units, with functions that record their calls. It
takes milliseconds. A mistake that it does not find would show up during training, or as a false finding about a cell.

Shapes: B batch, H hidden, as in `model.cells`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from charrnn.architectures import CELL_GROUP
from charrnn.errors import UsageError, counted
from charrnn.extensions import find_plugin
from charrnn.model.cells import CELLS, Cell

if TYPE_CHECKING:
    from charrnn.model.cells import Ops
    from charrnn.model.portable_math import Float32Array

Call = Callable[..., Any]
"""(function, *arguments): calls code of another package, as `extensions.Plugin.run` does."""

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


@cache
def cell_type(name: str) -> type[Cell]:
    """Return the built-in cell type `name`, or the one that an installed package provides by that name.

    Importing the package runs its code. Raises UsageError that names the package, where what it provides is no cell, or
    one that does not do what `Cell` promises.
    """
    if name in CELLS:
        return CELLS[name]
    plugin = find_plugin(CELL_GROUP, "cell", name, CELLS)
    if plugin is None:
        raise UsageError(f"No installed package provides the cell {name!r}.")
    cell = plugin.load()
    if not (isinstance(cell, type) and issubclass(cell, Cell)):
        raise UsageError(f"The {plugin} is no subclass of charrnn.model.cells.Cell.")
    validate_cell_type(f"The {plugin}", cell, plugin.run)
    return cell


def validate_cell_type(what: str, cell: type[Cell], call: Call) -> None:
    """Raise UsageError, whose message starts with `what`, unless a cell does what `Cell` promises."""
    problem = _declared_wrongly(cell) or _Trial(cell, call).problem()
    if problem:
        raise UsageError(f"{what}: {problem}")


def _declared_wrongly(cell: type[Cell]) -> str:
    """Return what is wrong with the attributes of a cell, or ""."""
    if not _is_count(cell.input_blocks):
        return f"`input_blocks` is {cell.input_blocks!r}; it must be an integer, at least 1."
    if not _is_count(cell.num_states):
        return f"`num_states` is {cell.num_states!r}; it must be an integer, at least 1."
    if not (isinstance(cell.products, Mapping) and all(map(_is_count, cell.products.values()))):
        return f"`products` is {cell.products!r}; it must map names to integers, at least 1."
    if "ih" in cell.products:
        return "`products` has 'ih', which is the name of the input weight. Choose another name."
    if not (isinstance(cell.gates, tuple) and all(isinstance(gate, str) for gate in cell.gates)):
        return f"`gates` is {cell.gates!r}; it must be a tuple of strings, such as ('z', 'r')."
    if cell.keeping_gate is not None and cell.keeping_gate not in cell.gates:
        return f"`keeping_gate` is {cell.keeping_gate!r}; it must be None or one of `gates`, {cell.gates!r}."
    if cell.forget_block is not None and cell.forget_block not in range(cell.input_blocks):
        return f"`forget_block` is {cell.forget_block!r}; it must be None, or from 0 to {cell.input_blocks - 1}."
    if not (_is_count(cell.units_multiple) and HIDDEN_SIZE % cell.units_multiple == 0):
        return f"`units_multiple` is {cell.units_multiple!r}; it must be 1, 2, 4 or 8."
    if cell.shows not in ("h", "tanh(h)", "tanh(c)"):
        return f"`shows` is {cell.shows!r}; it must be h, tanh(h) or tanh(c)."
    if (cell.num_states > 1) != (cell.shows == "tanh(c)"):
        allowed = "tanh(c), because there is a memory c" if cell.num_states > 1 else "h or tanh(h), as there is no c"
        return f"`num_states` is {cell.num_states} and `shows` is {cell.shows}; it must be {allowed}."
    return ""


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


@dataclass(slots=True)
class _Trial:
    """A cell with small random weights, and a record of what its `step` calls."""

    cell: type[Cell]
    call: Call
    num_clamped: int = 0
    gates: list[Any] = field(default_factory=list)
    """The arguments of `ops.sigmoid`."""
    multiplied: set[str] = field(default_factory=set)
    """Names of the recurrent weights that were used."""
    mistake: str = ""
    """What a recording function noticed. Its exception is one of the package, and would not say as much."""
    weights: dict[str, Float32Array] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)

    def problem(self) -> str:
        """Run the cell; return what it does wrong, or "". Raises UsageError, as `call` does, where its code fails."""
        import numpy as np

        from charrnn.model.portable_math import NUMPY

        random = np.random.default_rng(0)
        with np.errstate(all="ignore"):  # large inputs may overflow; what matters is the result
            if problem := self._draw_weights(random):
                return problem
            ops = replace(NUMPY, sigmoid=self._sigmoid, clamp=self._clamp)
            x = random.standard_normal((NUM_ROWS, self.cell.input_blocks * HIDDEN_SIZE), np.float32)
            start = tuple(np.zeros((self.cell.num_states, NUM_ROWS, HIDDEN_SIZE), np.float32))
            state = self._step(ops, x, start)
            return (
                self.mistake
                or self._wrong_state(state)
                or self._wrong_calls()
                or self._wrong_clamp(state)
                or self._wrong_values(replace(ops, clamp=NUMPY.clamp), np.where(x < 0, -LARGE_INPUT, LARGE_INPUT))
            )

    def _draw_weights(self, random: Any) -> str:
        import numpy as np

        extras = self.call(self.cell.extras, HIDDEN_SIZE)
        if not isinstance(extras, Mapping):
            return f"`extras` returns {_described(extras)}; it must be a dictionary."
        for name, parameter in extras.items():
            if not (isinstance(parameter, tuple) and len(parameter) == 2 and isinstance(parameter[0], tuple)):
                return f"`extras` gives {name!r} as {parameter!r}; it must be (shape, initial values)."
            shape, kind = parameter
            if kind not in INITIAL_VALUES:
                return f"`extras` gives {name!r} the initial values {kind!r}; they are {', '.join(INITIAL_VALUES)}."
            is_order = kind == "permutation"
            self.extras[name] = (
                random.permutation(shape[0]) if is_order else random.uniform(-0.1, 0.1, shape).astype(np.float32)
            )
        for name, num_blocks in self.cell.products.items():
            shape = (num_blocks * HIDDEN_SIZE, HIDDEN_SIZE)
            drawn = random.uniform(-0.1, 0.1, shape).astype(np.float32)
            self.weights[name] = self.call(self.cell.effective_weight, drawn)
            if np.shape(self.weights[name]) != shape:
                return f"`effective_weight` maps {shape} to {np.shape(self.weights[name])}; the shape must stay."
        return ""

    def _step(self, ops: Ops[Float32Array], x: Float32Array, state: tuple[Float32Array, ...]) -> Any:
        try:
            return self.call(self.cell.step, ops, x, self._product, state, self.extras)
        except UsageError as error:
            if self.mistake:
                return None
            widths = [f"product({name!r}, h) is {NUM_ROWS, len(weight)}" for name, weight in self.weights.items()]
            raise UsageError(
                f"{error.marked}\nB is {NUM_ROWS}, H is {HIDDEN_SIZE}, {', '.join([f'x is {x.shape}', *widths])}: "
                "do `input_blocks` and `products` agree with `step`?"
            ) from error

    def _product(self, name: str, h: Any) -> Float32Array:
        if name not in self.weights:
            self.mistake = f"`step` multiplies with {name!r}, which is not in `products`."
        elif getattr(h, "shape", None) != (NUM_ROWS, HIDDEN_SIZE):
            self.mistake = f"`step` multiplies {name!r} with {_described(h)}; it must be an array (B, H)."
        if self.mistake:
            raise ValueError(self.mistake)
        self.multiplied.add(name)
        product: Float32Array = h @ self.weights[name].T
        return product

    def _sigmoid(self, x: Any) -> Any:
        from charrnn.model.portable_math import NUMPY

        self.gates.append(x)
        return NUMPY.sigmoid(x)

    def _clamp(self, memory: Any) -> Any:
        self.num_clamped += 1
        if getattr(memory, "shape", None) != (NUM_ROWS, HIDDEN_SIZE):
            self.mistake = f"`step` passes {_described(memory)} through `ops.clamp`; it must be an array (B, H)."
            raise ValueError(self.mistake)
        memory = memory.copy()
        memory[:, 0] = self.cell.memory(CLAMPED_VALUE)
        return memory

    def _wrong_state(self, state: Any) -> str:
        """Return what is wrong with the result of `step`."""
        count = self.cell.num_states
        arrays = "1 array" if count == 1 else f"{count} arrays"
        wanted = f"As `num_states` is {count}, it must return a tuple of {arrays} (B, H), the output h first."
        if not isinstance(state, tuple):
            return f"`step` returns {_described(state)}. {wanted}"
        if len(state) != count:
            return f"`step` returns a tuple of {len(state)}. {wanted}"
        for part in state:
            if getattr(part, "shape", None) != (NUM_ROWS, HIDDEN_SIZE):
                return f"`step` returns {_described(part)} in its tuple. {wanted}"
        return ""

    def _wrong_calls(self) -> str:
        """Return what is wrong with the calls that `step` made."""
        if self.num_clamped != 1:
            return (
                f"`step` calls `ops.clamp` {counted(self.num_clamped, 'time')}; it must pass its memory "
                "(c if there is one, else h) through it once. "
                "Otherwise, clamping and ablating have no effect, or a wrong one."
            )
        if unused := set(self.cell.products) - self.multiplied:
            return f"`products` has {min(unused)!r}, with which `step` does not multiply."
        if len(self.gates) != len(self.cell.gates):
            return (
                f"`step` calls `ops.sigmoid` {counted(len(self.gates), 'time')}, but `gates` has "
                f"{counted(len(self.cell.gates), 'name')}. "
                "Name each gate, in the order of the calls.\n"
                "Compute a sigmoid that is no gate as 0.5 * ops.tanh(0.5 * x) + 0.5."
            )
        for name, gate in zip(self.cell.gates, self.gates, strict=True):
            if getattr(gate, "shape", None) != (NUM_ROWS, HIDDEN_SIZE):
                return f"`step` computes the gate {name!r} of {_described(gate)}; it must be an array (B, H)."
        return ""

    def _wrong_clamp(self, state: tuple[Float32Array, ...]) -> str:
        """Return what is wrong with a state whose first unit was clamped."""
        import numpy as np

        from charrnn.model.portable_math import NUMPY

        memory = self.cell.memory(CLAMPED_VALUE)
        if not np.allclose(state[-1][:, 0], memory, atol=TOLERANCE):
            return "`step` must return the result of `ops.clamp`, unchanged, as its last state: that is the memory."
        values = self.call(self.cell.value, NUMPY, state)
        if getattr(values, "shape", None) != (NUM_ROWS, HIDDEN_SIZE):
            return f"`value` returns {_described(values)}; it must be an array (B, H)."
        if not np.allclose(values[:, 0], CLAMPED_VALUE, atol=TOLERANCE):
            return (
                f"`shows` is {self.cell.shows}, but `value` computes something else: a unit that is clamped at "
                f"{CLAMPED_VALUE} has the value {values[0, 0]:.3f}.\n"
                + ("Let `value` return ops.tanh(state[0])." if self.cell.shows == "tanh(h)" else "Leave `value` out.")
            )
        return ""

    def _wrong_values(self, ops: Ops[Float32Array], x: Float32Array) -> str:
        """Return what is wrong with the values after many large inputs."""
        import numpy as np

        state = tuple(np.zeros((self.cell.num_states, NUM_ROWS, HIDDEN_SIZE), np.float32))
        for _ in range(NUM_STEPS):
            state = self._step(ops, x.astype(np.float32), state)
            if problem := self.mistake or self._wrong_state(state):
                return problem
        largest = float(np.abs(self.call(self.cell.value, ops, state)).max())
        if largest <= 1 + TOLERANCE:
            return ""
        return (
            f"its values must stay in [-1, 1], and large inputs give {largest:.3g}.\n"
            'If h is not bounded, set `shows = "tanh(h)"` and let `value` return ops.tanh(state[0]).'
        )


def _described(value: object) -> str:
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" if shape is None else f"an array {tuple(shape)}"
