"""The weights that a configuration determines, their shapes, and new rows for new characters."""

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
from charrnn.model.cell_types import Lstm
from charrnn.model.walk import Architecture
from charrnn.system.process import memory_bytes

MAX_HEADER_BYTES = 1 << 20
"""Limit of the header that lists the tensors of a file: ten times what the largest number of layers
needs."""
TRAINING_COPIES = 15
"""Values that training stores per weight while it saves: weight, gradient, two moments, average,
and what is saved of them twice more, as arrays and as files. The peak with 20 million weights is 15
with AdamW and 12 with Muon."""


def input_size_of(config: Config, vocab_size: int) -> int:
    """Return E, the entries of the vector that stands for a character: V for one-hot vectors."""
    return vocab_size if config.embedding_size == "one-hot" else resolved(config.embedding_size)


def weight_shapes(config: Config, vocab_size: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of `model.safetensors` by name, in the order of
    `CharRNN`."""
    network = Architecture.of(config)
    cell = network.cell
    depth = network.depth
    size = network.hidden_size
    input_size = input_size_of(config, vocab_size)
    shapes: dict[str, tuple[int, ...]] = {}

    # Below and above the layers: one row per character.
    if config.embedding_size != "one-hot":
        shapes["embedding.weight"] = (vocab_size, input_size)
    shapes |= {"output.weight": (vocab_size, size), "output.bias": (vocab_size,)}

    for index in range(network.num_layers):
        # The layer itself. Only the first one reads characters, if there is no projection below it.
        for name, blocks in {"ih": cell.input_blocks, **cell.products}.items():
            columns = input_size if name == "ih" and index == 0 and not depth.has_lstm else size
            shapes[f"layers.{index}.weight_{name}_l0"] = (blocks * size, columns)
            shapes[f"layers.{index}.bias_{name}_l0"] = (blocks * size,)
        for name, (shape, _) in cell.extras(size).items():
            shapes[f"layers.{index}.{name}"] = shape

        # What joins its outputs with those of the layers below.
        if depth.has_gates and index:
            shapes[f"highways.{index - 1}.weight"] = (size, size)
            shapes[f"highways.{index - 1}.bias"] = (size,)
        if depth.span:
            shapes |= {
                f"attentions.{index}.weight": (2 * size, size),
                f"attentions.{index}.bias": (2 * size,),
            }
        if depth.has_lstm:
            shapes |= {"bottom.weight": (2 * size, input_size), "bottom.bias": (2 * size,)}
            for name in ("ih", "hh"):
                shapes[f"grids.{index}.weight_{name}_l0"] = (Lstm.input_blocks * size, size)
                shapes[f"grids.{index}.bias_{name}_l0"] = (Lstm.input_blocks * size,)

    if config.initial_state == "learned":
        shapes["learned_state"] = (network.num_layers, network.num_states, size)
    return shapes


def num_parameters(config: Config, vocab_size: int) -> int:
    """Count the trained values of a model from its shapes alone, without building it.

    Of several networks, zeros outside the blocks of each are not counted.
    """
    # Each of several networks has its own weights.
    members = config.num_networks
    if members > 1:
        return members * num_parameters(config_of_member(config), vocab_size)

    # A permutation is drawn and kept: it is not trained.
    extras = cell_type(config.cell).extras(resolved(config.hidden_size))
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

    The number of layers is resolved; `embedding_size` computes the size of the embedding from the
    number of units. Raises UsageError, with the allowed range, if that many are fewer than the
    smallest model has, or more than the largest one that this machine can train.
    """
    assert config.parameters is not None, "no number of weights was asked for"
    multiple = cell_type(config.cell).units_multiple

    def count(multiples: int) -> int:
        size = multiples * multiple
        sized = replace(
            config,
            hidden_size=size,
            embedding_size=embedding_size(size),
            parameters=None,
        )
        return num_parameters(sized, vocab_size)

    # What is possible: the weights have to fit in the memory while they are trained.
    multiples = range(1, MAX_HIDDEN_SIZE // multiple + 1)
    least = count(multiples[0])
    most = count(multiples[-1])
    if (memory := memory_bytes()) is not None:
        most = min(most, memory // (4 * TRAINING_COPIES))
    if not least <= config.parameters <= most:
        layers = counted(resolved(config.num_layers), "layer")
        raise UsageError(
            f"{named('parameters')} is {config.parameters:,}; it must be between {least:,} and"
            f" {most:,}\nfor {layers} of cell type {config.cell}, an alphabet of {vocab_size:,} and"
            f" the memory of this machine. {named('num_layers')} and {named('embedding_size')}"
            " change that."
        )

    # The count rises with the number of units, so that halving finds the last one that fits.
    return multiple * multiples[bisect_right(multiples, config.parameters, key=count) - 1]


def check_multiple(config: Config) -> None:
    """Raise UsageError if the cell type does not allow `config.hidden_size`."""
    multiple = cell_type(config.cell).units_multiple
    if resolved(config.hidden_size) % multiple:
        raise UsageError(
            f"{named('hidden_size')} is {config.hidden_size}; the cell {config.cell} needs a"
            f" multiple of {multiple}."
        )


def weight_bytes(config: Config, vocab_size: int) -> int:
    """Return the size of the weights of a model in a file, without the header and with 4 bytes for
    each."""
    return 4 * sum(map(prod, weight_shapes(config, vocab_size).values()))


def most_bytes(config: Config, vocab_size: int) -> int:
    """Return the largest size of a file of a checkpoint: the weights four times over, the recurrent
    state, a header.

    Training stores the weights, their averages and two moments per weight.
    """
    network = Architecture.of(config)
    batch_size = resolved(config.batch_size)
    state = network.num_layers * network.num_states * batch_size * network.hidden_size

    # Several networks have an output bias each, where the model has one.
    biases = 4 * (config.num_networks - 1) * vocab_size

    # And more tensors, which the header lists.
    headers = config.num_networks * MAX_HEADER_BYTES
    return 4 * (weight_bytes(config, vocab_size) + state + biases) + headers


def check_shapes(config: Config, tensors: Mapping[str, Any], path: Path | None = None) -> int:
    """Return the vocabulary size of a model's tensors.

    Raises CheckpointError if they do not match `config`; it names the `path` of the run or the
    file, if it is given.
    """
    for problem in _problems(config, tensors):
        place = "" if path is None else f"{path} is damaged: "
        raise CheckpointError(
            f"{place}model.safetensors does not contain the {config.cell} model that config.yaml"
            f" describes: {problem}"
        )
    return len(tensors["output.weight"])


def _problems(config: Config, tensors: Mapping[str, Any]) -> Iterator[str]:
    # Its shape gives V, from which the others follow.
    if "output.weight" not in tensors or len(tensors["output.weight"].shape) != 2:
        yield "output.weight is missing"
        return

    # The names and the shapes.
    expected = weight_shapes(config, tensors["output.weight"].shape[0])
    for name, shape in expected.items():
        if name in tensors and tuple(tensors[name].shape) != shape:
            yield f"{name} has shape {tuple(tensors[name].shape)}, not {shape}"
    for name in sorted(expected.keys() - tensors.keys()):
        yield f"{name} is missing"
    for name in sorted(tensors.keys() - expected.keys()):
        yield f"{name} does not belong to it"

    # The values, as far as whoever loads them relies on them.
    for name, tensor in tensors.items():
        if name.endswith(".permutation"):
            if sorted(tensor.tolist()) != list(range(len(tensor))):
                yield f"{name} is no permutation"
        elif "float" not in str(tensor.dtype):
            yield f"{name} has values that are no floats"


def check_finite(values: Any, what: str) -> None:
    """Raise CheckpointError if an array or a number that a model gave, named by `what`, is not
    finite throughout."""
    if not np.isfinite(np.asarray(values, np.float32)).all():
        raise CheckpointError(
            f"Some {what} of this model are not finite numbers: its weights are damaged, or its"
            " state grows without bound. Use another checkpoint."
        )


def check_memory(config: Config, vocab_size: int) -> None:
    """Raise UsageError if training needs more memory than this process may have, as far as the
    system tells."""
    num_weights = sum(map(prod, weight_shapes(config, vocab_size).values()))
    needed = 4 * TRAINING_COPIES * num_weights
    available = memory_bytes()
    if available is not None and needed > available:
        raise UsageError(
            f"{named('hidden_size')} is {config.hidden_size} and {named('num_layers')}"
            f" {config.num_layers}: {num_weights:,}"
            f" weights need about {needed / 1e9:,.1f} GB of memory to train, and this process may"
            f" have {available / 1e9:,.1f} GB. Use fewer."
        )


def check_unit(layer: int, unit: int, num_layers: int, num_units: int) -> None:
    """Raise UsageError if a model of this size has no such cell."""
    if not (0 <= layer < num_layers and 0 <= unit < num_units):
        raise UsageError(
            f"There is no cell {layer}:{unit}: layers go from 0 to {num_layers - 1}, units from 0"
            f" to {num_units - 1}."
        )


AXES = {"embedding.weight": 0, "output.weight": 0, "output.bias": 0}
"""Tensors with an entry per character along an axis: (V, E), (V, H) and (V,)."""


def extend_rows(
    model: Mapping[str, NDArray[Any]], drawn: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Return the tensors of a model with rows (columns) for N characters, the first V of them its
    own, bit for bit.

    The others are those of `drawn`, a network with N characters that was initialized from the seed.
    The mean of the old rows is no better a start (benchmarks/LOG.md), and would make all new
    characters the same.
    """
    # The tensors with an entry per character.
    axes = dict(AXES)
    if "embedding.weight" not in model:
        # One-hot vectors: what reads them first has a column per character.
        first = "bottom.weight" if "bottom.weight" in model else "layers.0.weight_ih_l0"
        axes[first] = 1

    # The new characters are the last ones of the alphabet.
    num_known = len(model["output.bias"])
    extended = dict(model)
    for name, axis in axes.items():
        if name in model:
            _, new = np.split(drawn[name], [num_known], axis=axis)
            extended[name] = np.concatenate((model[name], new), axis=axis)
    return extended
