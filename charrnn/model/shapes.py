"""The settings of a configuration that determine which products a network computes, and its state;
the shapes and sizes of its weights, which are checked, and extended by rows for new characters.

Shapes: H hidden, D dilation, R rows and C columns of a weight.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import MAX_HIDDEN_SIZE, Config, OneHot, config_of_member, resolved
from charrnn.errors import CheckpointError, UsageError, counted, named
from charrnn.model.cell_type_registry import cell_type
from charrnn.model.cell_types import Array, Cell, Lstm, Shape
from charrnn.model.depths import DEPTHS
from charrnn.system.arrays import Int64Array
from charrnn.system.process import memory_bytes
from charrnn.text.vocab import Vocab

MAX_HEADER_BYTES = 1 << 20
"""Maximum size of the header that lists the tensors of a file: ten times the size for the largest
number of layers."""
TRAINING_COPIES = 15
"""Number of values per weight in memory while training saves: weight, gradient, two moments and
average, and the saved ones of them twice more, as arrays and as files. The peak with 20 million
weights is 15 with AdamW and 12 with Muon."""


LINEAR = re.compile(r"(.+)\.weight(?:_(\w+)_l0)?")
"""Names of the weights of linear maps: `output.weight`, `layers.0.weight_hh_l0`."""


class Architecture:
    """The cell type, the depth and the sizes of a network.

    It reads weights by what they are for, not by their names: the stepper, the page and the numbers
    of a model need no torch for it.
    """

    def __init__(self, config: Config):
        """Take them from a resolved configuration."""
        self.cell = cell_type(config.cell_type)
        self.depth = DEPTHS[config.depth]
        self.num_layers = resolved(config.num_layers)
        self.hidden_size = resolved(config.hidden_size)
        self.dilations = tuple(map(self.depth.dilation, range(self.num_layers)))
        """The number of characters from each character back to the one whose state a layer
        continues."""
        self.num_states = self.cell.num_states * self.dilations[-1] + self.depth.span
        """S: the number of state vectors per layer, which is the number of states of its cell times
        the largest dilation, plus `Depth.span`."""
        self.kept_outputs = slice(self.cell.num_states, self.cell.num_states + self.depth.span)
        """The slice of a layer's state vectors that contains its last `Depth.span` outputs, oldest
        first."""

    def linear_weights(self, tensors: Mapping[str, Array]) -> dict[str, tuple[Array, Array]]:
        """Return weight (R, C) and bias (R,) of every product of a network by its name: `bottom`,
        `layers.0.ih`, `layers.0.hh` and other recurrent weights of the cell, `highways.0`,
        `attentions.0`, `grids.0.ih`, `grids.0.hh`, `output`.

        Recurrent weights are the effective weights of `Cell.effective_weight`. `tensors` are the
        content of `model.safetensors`.
        """
        linear = {}
        for name, weight in tensors.items():
            # Biases, the embedding and `Cell.extras` have no product.
            match = LINEAR.fullmatch(name)
            if match is None or name == "embedding.weight":
                continue

            # A linear map between layers has only one weight.
            module, product = match.groups()
            if product is None:
                linear[module] = (weight, tensors[f"{module}.bias"])
                continue

            # A layer has several products. The products of a grid belong to an LSTM, whose weights
            # are their own effective weights.
            if module.startswith("layers.") and product != "ih":
                weight = self.cell.effective_weight(weight)
            linear[f"{module}.{product}"] = (weight, tensors[f"{module}.bias_{product}_l0"])
        return linear


def input_size_of(config: Config, vocab_size: int) -> int:
    """Return E, the size of the vector of a character: V for one-hot vectors."""
    return vocab_size if config.embedding_size == "one-hot" else resolved(config.embedding_size)


def layer_shapes(cell: type[Cell], input_size: int, hidden_size: int) -> dict[str, Shape]:
    """Return the shapes of the parameters of a layer that reads vectors of `input_size`, by name.

    They are named as in `torch.nn`, where every product has its own bias.
    """
    shapes: dict[str, Shape] = {}
    for name, num_blocks in {"ih": cell.input_blocks, **cell.products}.items():
        rows = num_blocks * hidden_size
        columns = input_size if name == "ih" else hidden_size
        shapes.update({f"weight_{name}_l0": (rows, columns), f"bias_{name}_l0": (rows,)})
    for name, (shape, _) in cell.extras(hidden_size).items():
        shapes[name] = shape
    return shapes


def weight_shapes(config: Config, vocab_size: int) -> dict[str, Shape]:
    """Return the shapes of the tensors of `model.safetensors` by name, in the order of `CharRNN`.

    It is known from the configuration alone: files are checked against it, and an ensemble is
    joined by it.
    """
    architecture = Architecture(config)
    depth = architecture.depth
    size = architecture.hidden_size
    input_size = input_size_of(config, vocab_size)
    shapes: dict[str, Shape] = {}

    def add_map(name: str, rows: int, columns: int) -> None:
        shapes.update({f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)})

    def add_layer(name: str, cell: type[Cell], columns: int) -> None:
        for parameter, shape in layer_shapes(cell, input_size=columns, hidden_size=size).items():
            shapes[f"{name}.{parameter}"] = shape

    # The embedding and the output layer have one row per character.
    if config.embedding_size != "one-hot":
        shapes["embedding.weight"] = (vocab_size, input_size)
    add_map("output", rows=vocab_size, columns=size)

    for index in range(architecture.num_layers):
        # The layer itself. Only the first layer reads characters, unless there is a projection
        # below it.
        reads_characters = index == 0 and not depth.has_lstm
        columns = input_size if reads_characters else size
        add_layer(f"layers.{index}", cell=architecture.cell, columns=columns)

        # The weights that join its outputs with the outputs of the layers below.
        if depth.has_gates and index:
            add_map(f"highways.{index - 1}", rows=size, columns=size)
        if depth.span:
            add_map(f"attentions.{index}", rows=2 * size, columns=size)
        if depth.has_lstm:
            add_map("bottom", rows=2 * size, columns=input_size)
            add_layer(f"grids.{index}", cell=Lstm, columns=size)

    if config.initial_state == "learned":
        shapes["learned_state"] = (architecture.num_layers, architecture.num_states, size)
    return shapes


def num_parameters(config: Config, vocab_size: int) -> int:
    """Count the trained values of a model from its shapes, without building it.

    `charrnn runs` counts by it without reading weights.

    If it consists of several networks, the zeros between their blocks are not counted.
    """
    members = config.num_networks
    if members > 1:
        return members * num_parameters(config_of_member(config), vocab_size)

    # A permutation is drawn once and not trained.
    extras = cell_type(config.cell_type).extras(resolved(config.hidden_size))
    fixed = {name for name, (_, kind) in extras.items() if kind == "permutation"}

    total = 0
    for name, shape in weight_shapes(config, vocab_size).items():
        if name.rpartition(".")[2] not in fixed:
            total += prod(shape)
    return total


def fit_parameters(
    config: Config, vocab_size: int, embedding_size: Callable[[int], int | OneHot]
) -> int:
    """Return the largest `hidden_size` with which a model has at most `config.parameters` trained
    values.

    The number of layers must be resolved; `embedding_size` computes the size of the embedding from
    the number of units. Raises UsageError, with the allowed range, if `config.parameters` is less
    than the smallest model has, or more than the largest model that this machine can train.
    """
    assert config.parameters is not None, "no number of weights was asked for"
    multiple = cell_type(config.cell_type).units_multiple

    def count(multiples: int) -> int:
        size = multiples * multiple
        sized = replace(
            config,
            hidden_size=size,
            embedding_size=embedding_size(size),
            parameters=None,
        )
        return num_parameters(sized, vocab_size)

    # The number of weights is limited by the memory that their training takes.
    multiples = range(1, MAX_HIDDEN_SIZE // multiple + 1)
    least = count(multiples[0])
    most = count(multiples[-1])
    if (memory := memory_bytes()) is not None:
        most = min(most, memory // (4 * TRAINING_COPIES))
    if not least <= config.parameters <= most:
        layers = counted(resolved(config.num_layers), "layer")
        raise UsageError(
            f"{named('parameters')} is {config.parameters:,}; it must be between {least:,} and"
            f" {most:,}\nfor {layers} of cell type {config.cell_type}, an alphabet of"
            f" {vocab_size:,} and the memory of this machine. {named('num_layers')} and"
            f" {named('embedding_size')} change that."
        )

    # The count rises with the number of units, so bisection finds the largest one that fits.
    return multiple * multiples[bisect_right(multiples, config.parameters, key=count) - 1]


def check_multiple(config: Config) -> None:
    """Raise UsageError if the cell type does not allow `config.hidden_size`."""
    multiple = cell_type(config.cell_type).units_multiple
    if resolved(config.hidden_size) % multiple:
        raise UsageError(
            f"{named('hidden_size')} is {config.hidden_size}; the cell {config.cell_type} needs a"
            f" multiple of {multiple}."
        )


def weight_bytes(config: Config, vocab_size: int) -> int:
    """Return the size of the weights of a model in a file, without the header and with 4 bytes for
    each.

    It is compared with the size of a file, before that is read.
    """
    return 4 * sum(map(prod, weight_shapes(config, vocab_size).values()))


def most_bytes(config: Config, vocab_size: int) -> int:
    """Return the maximum size of a file of a checkpoint: four values per weight, the recurrent
    state, a header.

    A file that is larger cannot be a checkpoint of this configuration, and is not read. Training
    saves the weights, their averages and two moments per weight.
    """
    architecture = Architecture(config)
    batch_size = resolved(config.batch_size)
    state = (
        architecture.num_layers * architecture.num_states * batch_size * architecture.hidden_size
    )

    # During training each of several networks has its own output bias, but the model has only one.
    biases = 4 * (config.num_networks - 1) * vocab_size

    # Several networks have more tensors, which the header lists.
    headers = config.num_networks * MAX_HEADER_BYTES
    return 4 * (weight_bytes(config, vocab_size) + state + biases) + headers


def check_shapes(config: Config, tensors: Mapping[str, Any], path: Path | None = None) -> int:
    """Return the vocabulary size of a model's tensors.

    Whoever has tensors from a file calls it before building anything of them.

    Raises CheckpointError if they do not match `config`; it names the `path` of the run or the
    file, if it is given.
    """
    for problem in _problems(config, tensors):
        prefix = "" if path is None else f"{path} is damaged: "
        raise CheckpointError(
            f"{prefix}model.safetensors does not contain the {config.cell_type} model"
            f" that config.yaml describes: {problem}"
        )
    return len(tensors["output.weight"])


def check_vocab_size(vocab_size: int, vocab: Vocab, name: str) -> None:
    """Raise CheckpointError unless the weights of run `name` are for as many characters as its
    vocabulary has.

    It is asked when a model is loaded, so that no damaged file is found out by an index that is out
    of range.
    """
    if vocab_size != len(vocab):
        raise CheckpointError(
            f"The alphabet of {name} has {len(vocab)} entries, its weights are for {vocab_size}."
        )


def _problems(config: Config, tensors: Mapping[str, Any]) -> Iterator[str]:
    # The shape of this tensor gives V, from which the other shapes follow.
    if "output.weight" not in tensors or len(tensors["output.weight"].shape) != 2:
        yield "output.weight is missing"
        return

    # Compare the names and the shapes.
    expected = weight_shapes(config, vocab_size=tensors["output.weight"].shape[0])
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted({*expected, *shapes}):
        found = shapes.get(name, "missing")
        wanted = expected.get(name, "missing")
        if found != wanted:
            yield f"the shape of {name} is {found}; it must be {wanted}"

    # Check the values on which the code that loads them relies.
    for name, tensor in tensors.items():
        if name.endswith(".permutation"):
            if sorted(tensor.tolist()) != list(range(len(tensor))):
                yield f"{name} is no permutation"
        elif "float" not in str(tensor.dtype):
            yield f"{name} has values that are no floats"


def check_finite(values: Any, what: str) -> None:
    """Raise CheckpointError if a result of a model is not finite. `what` names the values in the
    message.

    It names the model as the cause, before the nan shows up in a table or ends a draw.
    """
    if not np.isfinite(np.asarray(values, np.float32)).all():
        raise CheckpointError(
            f"Some {what} of this model are not finite numbers: its weights are damaged, or its"
            " state grows without bound. Use another checkpoint."
        )


def check_network_fits(config: Config, vocab_size: int) -> None:
    """Raise UsageError if training needs more memory than this process may have, if the system
    reports that.

    It is asked when the sizes are known, before the first step would end the process.
    """
    num_bytes = weight_bytes(config, vocab_size)
    needed = TRAINING_COPIES * num_bytes
    available = memory_bytes()
    if available is not None and needed > available:
        raise UsageError(
            f"{named('hidden_size')} is {config.hidden_size} and {named('num_layers')}"
            f" {config.num_layers}: {num_bytes // 4:,}"
            f" weights need about {needed / 1e9:,.1f} GB of memory to train, and this process may"
            f" have {available / 1e9:,.1f} GB. Use fewer."
        )


def check_unit(layer: int, unit: int, num_layers: int, num_units: int) -> None:
    """Raise UsageError if a model of this size has no such cell.

    A cell that a user names is checked by it before anything is read.
    """
    if not (0 <= layer < num_layers and 0 <= unit < num_units):
        raise UsageError(
            f"There is no cell {layer}:{unit}: layers go from 0 to {num_layers - 1}, units from 0"
            f" to {num_units - 1}."
        )


AXES = {"embedding.weight": 0, "output.weight": 0, "output.bias": 0}
"""Tensors with an entry per character along an axis: (V, E), (V, H) and (V,)."""
LESS_LIKELY = 3.0
"""Nats by which a new character is less likely at first than the known one that it begins as."""


def extend_rows(
    model: Mapping[str, NDArray[Any]], drawn: Mapping[str, NDArray[Any]], rows: Int64Array
) -> dict[str, NDArray[Any]]:
    """Return the tensors of a model with rows (or columns) for N characters instead of V.

    Row k is row `rows[k]` of the model, bit for bit; where `rows` (N,) is -1, it is that of
    `drawn`, a newly initialized network with N characters. Of several characters with one row, the
    first is the one that the model knows. The others are similar to it, and less likely by
    `LESS_LIKELY` nats (benchmarks/LOG.md).
    """
    # Collect the tensors with an entry per character.
    axes = dict(AXES)
    if "embedding.weight" not in model:
        # The weight that reads one-hot vectors has a column per character.
        first = "bottom.weight" if "bottom.weight" in model else "layers.0.weight_ih_l0"
        axes[first] = 1

    is_drawn = rows < 0
    extended = dict(model)
    for name, axis in axes.items():
        if name in model:
            taken = model[name].take(rows, axis=axis)
            shape = [1] * taken.ndim
            shape[axis] = len(rows)
            extended[name] = np.where(is_drawn.reshape(shape), drawn[name], taken)

    is_similar = np.ones(len(rows), np.bool_)
    is_similar[np.unique(rows, return_index=True)[1]] = False
    extended["output.bias"][is_similar & ~is_drawn] -= LESS_LIKELY
    return extended
