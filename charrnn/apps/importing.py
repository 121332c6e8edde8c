"""charrnn import: a recurrent model that another program trained becomes a run folder.

The weights are those of `nn.LSTM`, `nn.GRU` or `nn.RNN` with an embedding, or one-hot vectors, and an output layer.
Nothing is unpickled: a .pt file is read with `weights_only`.

Shapes: V vocabulary, E embedding, H hidden, G gates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from charrnn.cli.arguments import read_text
from charrnn.cli.options import DebugOption, JsonOption, QuietOption
from charrnn.cli.streams import print_json, print_path, printable
from charrnn.config import Config
from charrnn.errors import CheckpointError, DataError, UsageError, named
from charrnn.files import MAX_TEXT_BYTES, check_regular, convert_os_errors, parse_json, read_capped, write_atomically
from charrnn.lazy import LazyModule, torch
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
_CELLS = {4: "lstm", 3: "gru", 1: "rnn"}
_RECURRENT = re.compile(r"(.*?)(weight_ih|weight_hh|bias_ih|bias_hh|weight_hr)(?:_l(\d+))?(_reverse)?")
_NESTED = ("model", "state_dict", "model_state_dict", "model_state")
_UNKNOWN_NAMES = ("<unk>", "<UNK>", "[UNK]", "unk", "UNK")
_OUTPUT = re.compile("out|head|dec|fc|proj|lin|dense|logit|vocab", re.IGNORECASE)
_EMBEDDING = re.compile("emb|wte|enc|lookup", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Imported:
    """The weights of a model under the names of charrnn, its settings, and where each weight comes from."""

    config: Config
    tensors: Tensors
    matched: Mapping[str, str]
    """Their name by ours; a bias that is missing there is zero."""


def read_tensors(path: Path) -> Tensors:
    """Read a .safetensors, .pt or .pth file. Raises CheckpointError for what is none, UsageError for another suffix."""
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise UsageError(f"{path}: weights are in a .safetensors, .pt or .pth file.\nsave model.state_dict() as one")
    check_regular(path)
    with convert_os_errors("read", path):
        try:
            if path.suffix == ".safetensors":
                found: Any = safetensors_torch.load_file(path)
            else:
                found = torch.load(path, map_location="cpu", weights_only=True)
        except OSError:
            raise
        # Whatever the two readers raise for a file that is damaged or contains more than tensors.
        except Exception as error:
            reason = " ".join(str(error).split())[:120]
            raise CheckpointError(
                f"{path} cannot be read as tensors: {reason}\n"
                "save model.state_dict() with safetensors.torch.save_file; nothing is unpickled"
            ) from error
    if isinstance(found, dict):
        found = next((found[name] for name in _NESTED if isinstance(found.get(name), dict)), found)
    if not isinstance(found, dict) or not all(isinstance(one, torch.Tensor) for one in found.values()):
        raise CheckpointError(f"{path} contains more than tensors: save model.state_dict() alone")
    for name, tensor in found.items():
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: {name} has values that are not finite floats\nleave it out, or mend it")
    return {str(name): tensor.float().numpy() for name, tensor in found.items()}


def read_vocab(path: Path) -> Vocab:
    """Read an alphabet: a JSON list of characters by id, or an object with `chars`, `itos` or `stoi`, as nanoGPT's.

    Entry 0 may be an unknown symbol. Raises CheckpointError that names the entry that is no character.
    """
    data = parse_json(path, read_capped(path, max_bytes=MAX_TEXT_BYTES))
    if isinstance(data, dict):
        data = next((data[name] for name in ("characters", "chars", "itos", "stoi") if name in data), data)
    if isinstance(data, dict):  # from ids to characters, or from characters to ids
        is_by_id = all(isinstance(one, str) for one in data.values())
        ids = {str(one): name for one, name in (data.items() if is_by_id else ((v, k) for k, v in data.items()))}
        missing = next((id for id in range(len(ids)) if str(id) not in ids), None)
        if missing is not None:
            raise CheckpointError(f"{path}: no character has the id {missing}; ids must be 0 to {len(ids) - 1}")
        data = [ids[str(id)] for id in range(len(ids))]
    characters = list(data) if isinstance(data, str) else data
    if isinstance(characters, list) and characters[:1] and characters[0] in _UNKNOWN_NAMES:
        characters = [UNKNOWN, *characters[1:]]
    return Vocab.from_json({"kind": "char", "characters": characters}, str(path))


def match(tensors: Tensors, vocab_size: int, path: Path, cell: str | None = None) -> Imported:
    """Give the weights the names of charrnn, by their shapes. `cell` is that of one gate: rnn (tanh) or irnn (relu).

    Raises CheckpointError that names the tensor which does not fit.
    """
    layers, rest = _split(tensors, path)
    sizes = [layers[0]["weight_hh"], layers[0]["weight_ih"]]
    hidden_size, input_size = tensors[sizes[0]].shape[-1], tensors[sizes[1]].shape[-1]
    num_gates = len(tensors[sizes[0]]) // hidden_size
    if num_gates not in _CELLS:
        raise _misfit(path, sizes[0], tensors, "(4 H, H) of an LSTM, (3 H, H) of a GRU or (H, H) of an RNN")
    chosen = _CELLS[num_gates] if cell is None else cell
    if chosen not in ((_CELLS[num_gates], "irnn") if num_gates == 1 else (_CELLS[num_gates],)):
        raise UsageError(f"{named('cell')} is {cell}, but {sizes[0]} has {num_gates} block(s): {_CELLS[num_gates]}.")
    matched: dict[str, str] = {}
    wanted: dict[str, tuple[int, ...]] = {}
    embedding, output, bias = _outer(tensors, rest, vocab_size, hidden_size, input_size, path)
    if embedding is not None:
        matched["embedding.weight"], wanted["embedding.weight"] = embedding, (vocab_size, input_size)
    matched["output.weight"], wanted["output.weight"] = output, (vocab_size, hidden_size)
    wanted["output.bias"] = (vocab_size,)
    if bias is not None:
        matched["output.bias"] = bias
    for index, layer in enumerate(layers):
        below = hidden_size if index else input_size
        for kind, name in layer.items():
            matched[f"layers.{index}.{kind}_l0"] = name
        for kind, columns in (("ih", below), ("hh", hidden_size)):
            wanted[f"layers.{index}.weight_{kind}_l0"] = (num_gates * hidden_size, columns)
            wanted[f"layers.{index}.bias_{kind}_l0"] = (num_gates * hidden_size,)
    ours = {}
    for name, shape in wanted.items():
        if name not in matched and "bias" not in name:
            raise CheckpointError(f"{path} has no {name} {shape} of layer {name.split('.')[1]}: save the whole model")
        ours[name] = tensors[matched[name]] if name in matched else np.zeros(shape, np.float32)
        if ours[name].shape != shape:
            raise _misfit(path, matched[name], tensors, f"{shape}, which {name} has here")
    config = Config(
        corpus=(f"imported from {path.stem}",), alphabet="char", cell=chosen, num_layers=len(layers),
        hidden_size=hidden_size, embedding_size="one-hot" if embedding is None else input_size, dropout=0.0,
        input_dropout=0.0, num_lanes=32, bptt_length=128, learning_rate=0.003, steps=1, evaluate_every=1,
        save_every=1, validation_chars=None, precision="fp32", threads=1,
    )  # fmt: skip
    return Imported(config, ours, matched)


def _split(tensors: Tensors, path: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return the names of the weights of each layer by kind, and all other names."""
    layers: dict[tuple[tuple[int, ...], int], dict[str, str]] = {}
    rest, prefixes = [], set()
    for name in tensors:
        if (found := _RECURRENT.fullmatch(name)) is None:
            rest.append(name)
            continue
        prefix, kind, index, reverse = found.groups()
        if reverse or kind == "weight_hr":
            what = "a bidirectional network, which cannot generate" if reverse else "a projection, an LSTM's proj_size"
            raise CheckpointError(f"{path}: {name} belongs to {what}\ncharrnn has no such model: train one without it")
        prefixes.add(re.sub(r"\d+", "", prefix))
        key = tuple(map(int, re.findall(r"\d+", prefix))), int(index or 0)
        layers.setdefault(key, {})[kind] = name
    if not layers or len(prefixes) > 1:
        what = f"several recurrent networks: {', '.join(sorted(prefixes))}" if prefixes else "no weight_hh_l0"
        raise CheckpointError(f"{path} has {what}\nimport reads one nn.LSTM, nn.GRU or nn.RNN with its output layer")
    ordered = [layers[key] for key in sorted(layers)]
    for layer in ordered:
        for kind in ("weight_ih", "weight_hh"):
            if kind not in layer or tensors[layer[kind]].ndim != 2:
                raise CheckpointError(f"{path}: {next(iter(layer.values()))} has no matrix {kind} beside it")
    return ordered, rest


def _outer(
    tensors: Tensors, rest: list[str], vocab_size: int, hidden_size: int, input_size: int, path: Path
) -> tuple[str | None, str, str | None]:
    """Return the names of the embedding, None for one-hot vectors, of the output layer's weight and of its bias."""
    matrices = [name for name in rest if tensors[name].ndim == 2]
    biases = [name for name in rest if tensors[name].shape == (vocab_size,)]
    outputs = [name for name in matrices if tensors[name].shape == (vocab_size, hidden_size)]
    for name in rest:
        if name not in biases and (name not in matrices or len(tensors[name]) != vocab_size):
            raise _misfit(path, name, tensors, f"that of an embedding or output layer of {vocab_size:,} characters")
    if len(outputs) > 1:  # an embedding of the same shape: the output layer has the bias, or a name that says so
        ways: tuple[Callable[[str], object], ...] = (
            lambda name: name.removesuffix("weight") + "bias" in biases,
            lambda name: _OUTPUT.search(name) and not _EMBEDDING.search(name),
            lambda name: not _EMBEDDING.search(name),
        )
        outputs = next((few for way in ways if len(few := list(filter(way, outputs))) == 1), outputs)
    others = [name for name in matrices if name not in outputs]
    if not outputs or (not others and input_size != vocab_size):
        tied = f": {outputs[0]} would be both (tied weights)\nsave it under two names" if outputs else ""
        missing = "embedding" if outputs else f"output layer ({vocab_size}, {hidden_size})"
        raise CheckpointError(f"{path} has no {missing}{tied or ': save the whole model'}")
    for name in (outputs[1:] or others[1:]) + biases[1:]:
        raise _misfit(path, name, tensors, f"no part: {outputs[0]} is there, too. Rename the output layer head.weight")
    return (others[0] if others else None), outputs[0], (biases[0] if biases else None)


def _misfit(path: Path, name: str, tensors: Tensors, wanted: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: {name} has shape {tensors[name].shape}; wanted: {wanted}\n"
        "import reads an embedding, nn.LSTM, nn.GRU or nn.RNN, and an output layer, with their whole vocabulary"
    )


def write_run(imported: Imported, vocab: Vocab, origin: Path, out: Path | None) -> Path:
    """Write a run folder with one checkpoint, at step 0, and return its path. Raises as `RunWriter` does."""
    from charrnn.runs.description import Description
    from charrnn.runs.reader import CHECKPOINTS
    from charrnn.runs.writer import RunWriter, new_run

    lines = [f"{theirs} -> {ours}" for ours, theirs in imported.matched.items()]
    note = f"Imported by charrnn import from {origin.name}, which another program trained:\n\n" + "\n".join(lines)
    with new_run(
        lambda: RunWriter.create(CHECKPOINTS, origin.stem) if out is None else RunWriter.create_at(out)
    ) as run:
        description = Description.of(run.path, imported.config, vocab)
        run.write_description(description)
        state = {"step": 0, "cursor": 0, "best_nats": None, "best_step": 0}
        run.commit(0, imported.tensors, {}, state, description, keep=2)
        write_atomically(run.path / NOTE, f"{note}\n".encode("utf-8", "backslashreplace"))
    return run.path


def import_model(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The weights: .safetensors, .pt or .pth.")],
    vocab: Annotated[
        str, typer.Option("--vocab", metavar="FILE", help="JSON: characters by id, or nanoGPT's stoi or itos.")
    ],
    cell: Annotated[str | None, typer.Option("--cell", help="For an nn.RNN: rnn (tanh) or irnn (relu).")] = None,
    text: Annotated[str | None, typer.Option("--text", metavar="FILE", help="Measure the loss on this text.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The run folder.")] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Make a run of a model that another program trained: an nn.LSTM, nn.GRU or nn.RNN of torch.

    sample, visualize, explore, evaluate, export and train --init-from use it like a run. stderr lists which weight
    became which; the path of the run is printed on stdout. Nothing is unpickled.
    """
    from charrnn.api import Model

    path, alphabet = Path(file), read_vocab(Path(vocab))
    imported = match(read_tensors(path), len(alphabet), path, cell)
    model = Model(imported.config, alphabet, dict(imported.tensors), name=path.stem)
    model.generator.model_for("int8", {})  # raises CheckpointError for weights that predict nothing finite
    loss = None if text is None else _measure(model, text)
    run = write_run(imported, alphabet, path, out)
    if json:
        measured = None if loss is None else dict(zip(("nats", "bits", "chars"), loss, strict=True))
        print_json({"run": str(run), "cell": imported.config.cell, "matched": imported.matched, "loss": measured})
        return
    report = [f"{theirs} -> {ours}" for ours, theirs in imported.matched.items()]
    if imported.config.cell == "rnn":
        report.append("an nn.RNN with tanh; if it has relu, give --cell irnn")
    if loss is not None:
        report.append(f"loss on {text}: {loss[0]:.4f} nats, {loss[1]:.4f} bits per character ({loss[2]:,} characters)")
    for line in () if quiet else report:
        typer.echo(printable(line), err=True)
    print_path(str(run))


def _measure(model: Model, source: str) -> tuple[float, float, int]:
    """Return the loss on the text of a file, in nats and in bits per character, and the number of characters."""
    from charrnn.evaluation.comparison import evaluate

    report = evaluate(model, read_text(source, model.config))
    if report.num_unknown and not model.vocab.has_unknown_symbol:
        raise DataError(f"{source} has characters that are not in the vocabulary: measure another text.")
    return report.nats_per_char, report.bpc, report.num_chars
