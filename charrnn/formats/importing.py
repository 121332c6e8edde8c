"""charrnn import: a recurrent model that another program trained becomes a run folder.

The weights are those of `nn.LSTM`, `nn.GRU` or `nn.RNN` with an embedding, or one-hot vectors, and
an output layer. Nothing is unpickled: a .pt file is read with `weights_only`.

Shapes: V vocabulary, E embedding, H hidden, G gates.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from charrnn.cli.arguments import read_text
from charrnn.cli.command_options import JsonOption, QuietOption
from charrnn.cli.streams import print_json, print_path, printable
from charrnn.config.settings import Config
from charrnn.errors import CheckpointError, DataError, UsageError, named
from charrnn.model.shapes import weight_shapes
from charrnn.system.files import (
    MAX_TEXT_BYTES,
    behind_links,
    parse_json,
    read_capped,
    write_atomically,
)
from charrnn.system.lazy import LazyModule, torch
from charrnn.text.vocab import UNKNOWN, Vocab

if TYPE_CHECKING:
    import safetensors.torch as safetensors_torch

    from charrnn.api import Model
else:
    safetensors_torch = LazyModule("safetensors.torch")

Tensors = Mapping[str, NDArray[np.float32]]
"""Arrays by name."""
NOTE = "README.txt"
"""The file in the run folder that says where its weights come from."""
MAX_BYTES = 1 << 40
"""Limit of the file of weights."""
_CELLS = {4: ("lstm",), 3: ("gru",), 1: ("rnn", "irnn")}
_RECURRENT = re.compile(
    r"(.*?)(weight_ih|weight_hh|bias_ih|bias_hh|weight_hr)(?:_l(\d+))?(_reverse)?"
)
_NESTED = ("model", "state_dict", "model_state_dict", "model_state")
_UNKNOWN_NAMES = ("<unk>", "<UNK>", "[UNK]", "unk", "UNK")
_OUTPUT = re.compile("out|head|dec|fc|proj|lin|dense|logit|vocab", re.IGNORECASE)
_EMBEDDING = re.compile("emb|wte|enc|lookup", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Imported:
    """The weights of a model under the names of charrnn, its settings, and where each weight comes
    from."""

    config: Config
    tensors: Tensors
    matched: Mapping[str, str]
    """Their name by ours; a bias that is missing there is zero."""


def _is_plain(value: object) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and value.layout is torch.strided
        and not (value.is_meta or value.is_quantized)
    )


def read_tensors(path: Path) -> Tensors:
    """Read a .safetensors, .pt or .pth file. Raises CheckpointError for what is none, UsageError
    for another suffix."""
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise UsageError(
            f"{path}: weights are in a .safetensors, .pt or .pth file.\nsave model.state_dict()"
            " as one"
        )
    data = read_capped(behind_links(path), max_bytes=MAX_BYTES)
    try:
        if path.suffix == ".safetensors":
            found: Any = safetensors_torch.load(data)
        else:
            found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    # Whatever the two readers raise for a file that is damaged or contains more than tensors.
    except Exception as error:
        # What torch says after the first sentence recommends unpickling.
        reason = " ".join(str(error).partition(".")[0].split())[:120] or "it is empty or damaged"
        raise CheckpointError(
            f"{path} cannot be read as tensors: {reason}\n"
            "save model.state_dict() with safetensors.torch.save_file; nothing is unpickled"
        ) from error
    if isinstance(found, dict):
        found = next((found[name] for name in _NESTED if isinstance(found.get(name), dict)), found)
    if not isinstance(found, dict) or not all(map(_is_plain, found.values())):
        raise CheckpointError(
            f"{path} contains more than dense tensors: save model.state_dict() alone"
        )
    for name, tensor in found.items():
        if not tensor.is_floating_point() or not torch.isfinite(tensor.float()).all():
            problem = f"{name} of {tensor.dtype} has values that are not finite floats of 32 bits"
            raise CheckpointError(f"{path}: {problem}\nsave it as float32, or mend it")
    return {str(name): tensor.detach().float().numpy() for name, tensor in found.items()}


def read_vocab(path: Path) -> Vocab:
    """Read an alphabet: a JSON list of characters by id, or an object with `chars`, `itos` or
    `stoi`, as nanoGPT's.

    Entry 0 may be an unknown symbol. Raises CheckpointError that names the entry that is no
    character.
    """
    data = parse_json(path, read_capped(behind_links(path), max_bytes=MAX_TEXT_BYTES))
    if isinstance(data, dict):
        data = next(
            (data[name] for name in ("characters", "chars", "itos", "stoi") if name in data), data
        )
    if isinstance(data, dict):  # from ids to characters, or from characters to ids
        ids = dict((str(a), b) if isinstance(b, str) else (str(b), a) for a, b in data.items())
        if missing := [id for id in range(len(ids)) if str(id) not in ids]:
            raise CheckpointError(
                f"{path}: no character has the id {missing[0]}; ids must be 0 to {len(ids) - 1}"
            )
        data = [ids[str(id)] for id in range(len(ids))]
    characters = list(data) if isinstance(data, str) else data
    if isinstance(characters, list) and characters and characters[0] in _UNKNOWN_NAMES:
        characters[0] = UNKNOWN
    return Vocab.from_json({"kind": "char", "characters": characters}, str(path))


def match(tensors: Tensors, vocab_size: int, path: Path, cell: str | None = None) -> Imported:
    """Give the weights the names of charrnn, by their shapes. `cell` is that of one gate: rnn
    (tanh) or irnn (relu).

    Raises CheckpointError that names the tensor which does not fit.
    """
    layers, rest = _split(tensors, path)
    first, below = layers[0]["weight_hh"], layers[0]["weight_ih"]
    hidden_size, input_size = tensors[first].shape[-1], tensors[below].shape[-1]
    num_gates = len(tensors[first]) // max(1, hidden_size)
    if num_gates not in _CELLS:
        raise _misfit(
            path, first, tensors, "(4 H, H) of an LSTM, (3 H, H) of a GRU or (H, H) of an RNN"
        )
    if cell not in (None, *_CELLS[num_gates]):
        raise UsageError(
            f"{named('cell')} is {cell}, but {first} has {num_gates} block(s):"
            f" {_CELLS[num_gates][0]}."
        )
    matched = _outer(tensors, rest, vocab_size, hidden_size, input_size, path)
    for index, layer in enumerate(layers):
        matched |= {f"layers.{index}.{kind}_l0": name for kind, name in layer.items()}
    config = Config(
        corpus=(f"imported from {path.stem}",), alphabet="char", cell=cell or _CELLS[num_gates][0],
        num_layers=len(layers), hidden_size=hidden_size, dropout=0.0, input_dropout=0.0, weight_decay=0.1, batch_size=32,  # noqa: E501
        embedding_size=input_size if "embedding.weight" in matched else "one-hot", bptt_length=128, threads=1,  # noqa: E501
        learning_rate=0.003, steps=1, evaluate_every=1, save_every=1, validation_chars=None, precision="fp32",  # noqa: E501
        ngram_rows=0, num_members=1, weight_drop=0.0,
    )  # fmt: skip
    ours = {}
    for name, shape in weight_shapes(config, vocab_size).items():
        ours[name] = tensors[matched[name]] if name in matched else np.zeros(shape, np.float32)
        if ours[name].shape != shape:
            raise _misfit(path, matched[name], tensors, f"{shape}, which {name} has here")
    return Imported(config, ours, matched)


def _split(tensors: Tensors, path: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return the names of the weights of each layer by kind, and all other names."""
    layers: dict[tuple[tuple[int, ...], int], dict[str, str]] = {}
    rest, prefixes = [], set()
    for name in sorted(tensors):
        if (found := _RECURRENT.fullmatch(name)) is None:
            rest.append(name)
            continue
        prefix, kind, index, reverse = found.groups()
        if reverse or kind == "weight_hr":
            what = (
                "a bidirectional network, which cannot generate"
                if reverse
                else "a projection, an LSTM's proj_size"
            )
            raise CheckpointError(
                f"{path}: {name} belongs to {what}\ncharrnn has no such model: train one without it"
            )
        prefixes.add(re.sub(r"\d+", "", prefix))
        key = tuple(map(int, re.findall(r"\d+", prefix))), int(index or 0)
        layers.setdefault(key, {})[kind] = name
    if not layers or len(prefixes) > 1:
        what = (
            f"several recurrent networks: {', '.join(sorted(prefixes))}"
            if prefixes
            else "no weight_hh_l0"
        )
        raise CheckpointError(
            f"{path} has {what}\nimport reads one nn.LSTM, nn.GRU or nn.RNN with its output layer"
        )
    ordered = [layers[key] for key in sorted(layers)]
    for layer in ordered:
        for kind in ("weight_ih", "weight_hh"):
            if kind not in layer or tensors[layer[kind]].ndim != 2:
                raise CheckpointError(
                    f"{path}: {next(iter(layer.values()))} has no matrix {kind} beside it"
                )
    return ordered, rest


def _outer(
    tensors: Tensors,
    rest: list[str],
    vocab_size: int,
    hidden_size: int,
    input_size: int,
    path: Path,
) -> dict[str, str]:
    """Return the names of the embedding, missing for one-hot vectors, and of the output layer by
    ours."""
    biases = [name for name in rest if tensors[name].shape == (vocab_size,)]

    def rank(name: str) -> tuple[bool, ...]:
        """Of an embedding of the same shape, the output layer differs by its bias, or by a name
        that says so."""
        is_output, has_bias = (
            tensors[name].shape == (vocab_size, hidden_size),
            f"{name[:-6]}bias" in biases,
        )
        is_embedding = _EMBEDDING.search(name) is not None
        return (
            is_output,
            has_bias,
            bool(_OUTPUT.search(name)) and not is_embedding,
            not is_embedding,
        )

    matrices = [
        name for name in rest if tensors[name].ndim == 2 and len(tensors[name]) == vocab_size
    ]
    matrices.sort(key=rank, reverse=True)
    found = dict(zip(("output.weight", "embedding.weight"), matrices, strict=False))
    found.update(zip(("output.bias",), biases, strict=False))
    for name in rest:
        if name not in found.values():
            raise _misfit(
                path,
                name,
                tensors,
                f"one embedding, output layer and bias of {vocab_size:,} characters",
            )
    if not matrices or not rank(matrices[0])[0]:
        raise CheckpointError(
            f"{path} has no output layer ({vocab_size}, {hidden_size}): save the whole model"
        )
    if len(matrices) > 1 and rank(matrices[0]) == rank(matrices[1]):
        raise _misfit(
            path,
            matrices[1],
            tensors,
            "no part like it besides: rename the output layer head.weight",
        )
    if len(matrices) == 1 and input_size != vocab_size:
        problem = f"no embedding: {matrices[0]} would be both (tied weights)"
        raise CheckpointError(f"{path} has {problem}\nsave it under two names")
    return dict(sorted(found.items()))


def _misfit(path: Path, name: str, tensors: Tensors, wanted: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: {name} has shape {tensors[name].shape}; wanted: {wanted}\nimport reads an"
        " embedding, nn.LSTM, nn.GRU or nn.RNN, and an output layer, with their whole vocabulary"
    )


def write_run(imported: Imported, vocab: Vocab, origin: Path, out: Path | None) -> Path:
    """Write a run folder with one checkpoint, at step 0, and return its path. Raises as `RunWriter`
    does."""
    from charrnn.runs.description import Description
    from charrnn.runs.reader import CHECKPOINTS
    from charrnn.runs.writer import RunWriter, new_run

    lines = [f"{theirs} -> {ours}" for ours, theirs in imported.matched.items()]
    note = (
        f"Imported by charrnn import from {origin.name}, which another program trained:\n\n"
        + "\n".join(lines)
    )

    def create() -> RunWriter:
        return (
            RunWriter.create(CHECKPOINTS, origin.stem)
            if out is None
            else RunWriter.create_at(out, can_resume=False)
        )

    with new_run(create) as run:
        description = Description.of(run.path, imported.config, vocab)
        run.write_description(description)
        state = {"step": 0, "cursor": 0, "best_nats": None, "best_step": 0, "is_imported": True}
        run.commit(0, imported.tensors, {}, state, description, keep=2)
        write_atomically(run.path / NOTE, f"{note}\n".encode("utf-8", "backslashreplace"))
    return run.path


def import_model(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The weights: .safetensors, .pt or .pth.")
    ],
    vocab: Annotated[
        str,
        typer.Option(
            "--vocab", metavar="FILE", help="JSON: characters by id, or nanoGPT's stoi or itos."
        ),
    ],
    cell: Annotated[
        str | None,
        typer.Option("--cell", metavar="CELL", help="For an nn.RNN: rnn (tanh) or irnn (relu)."),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="FILE", help="Measure the loss on this text.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The run folder: a new one.")
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a run of a model that another program trained: an nn.LSTM, nn.GRU or nn.RNN of torch.

    sample, visualize, explore, evaluate, export and train --init-from use it like a run. stderr
    lists which weight became which; the path of the run is printed on stdout. Nothing is unpickled.
    """
    from charrnn.api import Model

    path, alphabet = Path(file), read_vocab(Path(vocab))
    imported = match(read_tensors(path), len(alphabet), path, cell)
    model = Model(imported.config, alphabet, dict(imported.tensors), name=path.stem)
    model.generator.model_for(
        "int8", {}
    )  # raises CheckpointError for weights that predict nothing finite
    loss = None if text is None else _measure(model, text)
    run = write_run(imported, alphabet, path, out)
    if json:
        print_json(
            {
                "run": str(run),
                "cell": imported.config.cell,
                "matched": imported.matched,
                "loss": loss,
            }
        )
        return
    report = [f"{theirs} -> {ours}" for ours, theirs in imported.matched.items()]
    if imported.config.cell == "rnn":
        report.append("an nn.RNN with tanh; if it has relu, give --cell irnn")
    if loss is not None:
        sizes = "{nats:.4f} nats, {bits:.4f} bits per character ({chars:,} characters)".format_map(
            loss
        )
        report.append(f"loss on {text}: {sizes}")
    for line in () if quiet else report:
        typer.echo(printable(line), err=True)
    print_path(str(run))


def _measure(model: Model, source: str) -> dict[str, float]:
    """Return the loss on the text of a file, in nats and in bits per character, and the number of
    characters."""
    from charrnn.evaluation.comparison import evaluate

    report = evaluate(model, read_text(source, model.config))
    if report.num_unknown and not model.vocab.has_unknown_symbol:
        raise DataError(
            f"{source} has characters that are not in the vocabulary: measure another text."
        )
    return {"nats": report.nats_per_char, "bits": report.bpc, "chars": report.num_chars}
