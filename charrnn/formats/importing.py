"""charrnn import: a recurrent model that another program trained becomes a run folder.

The weights are those of `nn.LSTM`, `nn.GRU` or `nn.RNN`, of torch or MLX, with an embedding, or
one-hot vectors, and an output layer. Nothing is unpickled: a .pt file is read with `weights_only`.

Shapes: V vocabulary, E embedding, H hidden, G gates.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.cli.command_options import NEW_RUN, CommandOptions
from charrnn.cli.streams import print_json, print_path, printable, warn, write_aside
from charrnn.config.options import argument, option
from charrnn.config.settings import Config
from charrnn.errors import CheckpointError, UsageError, named
from charrnn.evaluation.comparison import doubts
from charrnn.evaluation.loss_reports import LossReport
from charrnn.model.shapes import weight_shapes
from charrnn.system.files import (
    MAX_TEXT_BYTES,
    behind_links,
    decode_json,
    read_capped,
    write_atomically,
)
from charrnn.system.lazy import LazyModule, torch
from charrnn.text.corpus import Corpus, CorpusPart, read_corpus
from charrnn.text.documents import as_catalogued
from charrnn.text.recorded_corpus import state_of_corpus
from charrnn.text.sources import Order
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
"""Cells by the number of gates; of several the first, unless another is asked for."""
_RECURRENT = re.compile(
    r"(.*?)(weight_ih|weight_hh|bias_ih|bias_hh|weight_hr)(?:_l(\d+))?(_reverse)?(_raw)?"
)
_MLX = {
    "Wx": "weight_ih",
    "Wxh": "weight_ih",
    "Wh": "weight_hh",
    "Whh": "weight_hh",
    "bias": "bias_ih",
    "b": "bias_ih",
    "bhn": "bias_hh",
}
"""What torch calls the weights of `mlx.nn.LSTM`, `GRU` and `RNN`, which have the same shapes and
gates in the same order. `bhn` is the last third of a `bias_hh`."""
_SYMBOL = re.compile(r"<\w+>|\[[A-Z]+\]|unk|pad", re.IGNORECASE)
"""A symbol that stands for no character, such as <unk> or <pad>."""
_TO_JSON = 'import json, pickle; json.dump(pickle.load(open({}, "rb")), open({}, "w"))'
"""Python that turns a pickle into JSON."""
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
    left_out: Sequence[str] = ()
    """The entries of the file that are no weights."""

    def report(self) -> list[str]:
        """Say which weight became which, a line each, and which entries became nothing."""
        lines = [f"{theirs} -> {ours}" for ours, theirs in self.matched.items()]
        if self.left_out:
            lines.append(f"left out, because no weights: {', '.join(self.left_out)}")
        return lines


@dataclass(frozen=True, slots=True)
class Measured:
    """The text that a model was measured on, and its loss."""

    corpus: Corpus
    loss: LossReport


def _is_plain(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and not (tensor.is_meta or tensor.is_quantized)


def _is_no_weight(value: object) -> bool:
    """Return whether an entry is no tensor, or a whole number as a tensor, such as the
    `num_batches_tracked` of a normalization layer."""
    if not isinstance(value, torch.Tensor):
        return True
    return value.ndim == 0 and not value.is_floating_point() and not value.is_complex()


def read_tensors(path: Path) -> tuple[Tensors, Sequence[str]]:
    """Read a .safetensors file or, under any other name, what `torch.save` wrote. Return its
    tensors, and the names of its entries that are no weights.

    Raises CheckpointError for anything else.
    """
    data = read_capped(behind_links(path), max_bytes=MAX_BYTES)
    try:
        if path.suffix == ".safetensors":
            found: Any = safetensors_torch.load(data)
        else:
            # Of a plain pickle torch also warns, with a line of its source.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    # Whatever the two readers raise for a file that is none of theirs, is damaged or contains more
    # than tensors.
    except Exception as error:
        # What torch says after the first sentence recommends unpickling.
        reason = " ".join(str(error).partition(".")[0].split())[:120]
        # Of a file that is no archive and no pickle, torch says only where it stumbled.
        if not reason or not (path.suffix == ".safetensors" or data.startswith((b"PK", b"\x80"))):
            reason = "it is empty, damaged or of another kind"
        raise CheckpointError(
            f"{path} cannot be read as tensors: {reason}\n"
            "save model.state_dict() with safetensors.torch.save_file; nothing is unpickled"
        ) from error

    found = _weights_in(found, path)
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} contains no tensors by name: save model.state_dict()")

    # Counters and settings stand among the weights of some programs.
    left_out = [str(name) for name, value in found.items() if _is_no_weight(value)]
    tensors = {str(name): value for name, value in found.items() if not _is_no_weight(value)}
    if not all(map(_is_plain, tensors.values())):
        raise CheckpointError(
            f"{path} contains more than dense tensors: save model.state_dict() alone"
        )

    # Whole numbers would be those of quantized weights, which mean something only with their
    # scales.
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not torch.isfinite(tensor.float()).all():
            raise CheckpointError(
                f"{path}: {name} of {tensor.dtype} has values that are not finite floats of 32"
                " bits\nsave it as float32, or mend it"
            )

    arrays = {name: tensor.detach().float().numpy() for name, tensor in tensors.items()}
    return arrays, left_out


def _weights_in(found: Any, path: Path) -> Any:
    """Return the part of a checkpoint that has a recurrent network, whatever its name: a program
    keeps more beside it. All of it if no part has one.

    Raises CheckpointError for several, as a model and its moving average are.
    """
    # A bare tensor: whoever asked says what is missing.
    if not isinstance(found, dict):
        return found

    parts = {}
    for name, part in found.items():
        if isinstance(part, dict) and any("weight_hh" in str(key) for key in part):
            parts[str(name)] = part
    if len(parts) > 1:
        raise CheckpointError(
            f"{path} has several models: {', '.join(parts)}\nsave the state_dict of one alone"
        )
    return next(iter(parts.values()), found)


def read_vocab(path: Path) -> Vocab:
    """Read an alphabet: a JSON list of characters by id, or an object with `chars`, `itos` or
    `stoi`, as nanoGPT's.

    Entry 0 may be a symbol, such as <unk> or <pad>, which becomes the unknown one: it is never
    generated. Raises CheckpointError that names the entry that is no character.
    """
    # Limited, as it may be the file of weights by mistake.
    content = read_capped(behind_links(path), max_bytes=MAX_TEXT_BYTES)
    # What `pickle.dump` writes, as in nanoGPT's meta.pkl. Loading it could run any program.
    if content.startswith(b"\x80"):
        # In double quotes: the shell has single ones around the code.
        code = _TO_JSON.format(json.dumps(str(path)), json.dumps(str(path.with_suffix(".json"))))
        raise CheckpointError(
            f"{path} is a pickle, which is not read; if you trust it, make JSON of it:\n"
            f"python -c {shlex.quote(code)}"
        )
    try:
        data: Any = decode_json(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is not JSON ({error}): give the alphabet of the model, a JSON list of its"
            " characters by id"
        ) from error

    # An object may have the characters under a name, or be a mapping of them itself.
    if isinstance(data, dict):
        for name in ("characters", "chars", "itos", "stoi"):
            if name in data:
                data = data[name]
                break
    if isinstance(data, dict):
        data = _by_id(data, path)

    # `Vocab.from_json` checks whatever this is.
    characters = data
    if isinstance(data, str):
        characters = list(data)
    if isinstance(characters, list):
        for index, entry in enumerate(characters):
            if not isinstance(entry, str) or _SYMBOL.fullmatch(entry) is None:
                continue
            if index:
                raise CheckpointError(
                    f"{path}: entry {index}, {entry!r}, is no character: only entry 0 may be a"
                    " symbol\nwrite a character there that your texts do not have, such as"
                    f" \\u{0xE000 + index:x}"
                )
            characters[0] = UNKNOWN
    return Vocab.from_json({"kind": "char", "characters": characters}, str(path))


def _by_id(entries: Mapping[str, Any], path: Path) -> list[Any]:
    """Return the characters of an object from ids to characters, or from characters to ids."""
    # Either direction is common: nanoGPT saves both, `stoi` and `itos`.
    characters = {}
    for key, value in entries.items():
        if isinstance(value, str):
            characters[key] = value
        else:
            characters[str(value)] = key

    # An id without a character would shift those after it.
    for id in range(len(characters)):
        if str(id) not in characters:
            raise CheckpointError(
                f"{path}: no character has the id {id}; ids must be 0 to {len(characters) - 1}"
            )
    return [characters[str(id)] for id in range(len(characters))]


def match(tensors: Tensors, vocab_size: int, path: Path, cell: str | None = None) -> Imported:
    """Give the weights the names of charrnn, by their shapes. `cell` is that of one gate: rnn
    (tanh) or irnn (relu).

    Raises CheckpointError that names the tensor which does not fit.
    """
    # The sizes and the cell follow from the first layer: its matrix of the state is (G H, H).
    layers, rest = _split(tensors, path)
    first = layers[0]["weight_hh"]
    hidden_size = tensors[first].shape[-1]
    input_size = tensors[layers[0]["weight_ih"]].shape[-1]
    num_gates = len(tensors[first]) // max(1, hidden_size)

    # tanh or relu is the only thing that shapes do not tell.
    if num_gates not in _CELLS:
        raise _misfit(
            path,
            name=first,
            tensors=tensors,
            wanted="(4 H, H) of an LSTM, (3 H, H) of a GRU or (H, H) of an RNN",
        )
    cells = _CELLS[num_gates]
    if cell not in (None, *cells):
        raise UsageError(
            f"{named('cell')} is {cell}, but {first} has {num_gates} block(s): {cells[0]}."
        )

    matched = _match_outer(
        tensors,
        rest,
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        input_size=input_size,
        path=path,
    )
    for index, layer in enumerate(layers):
        for kind, name in layer.items():
            matched[f"layers.{index}.{kind}_l0"] = name

    # The program that trained it is unknown: what only training uses is what `train` begins with.
    config = Config(
        corpus=(f"imported from {path.stem}",),
        alphabet="char",
        cell=cell or cells[0],
        num_layers=len(layers),
        hidden_size=hidden_size,
        embedding_size=input_size if "embedding.weight" in matched else "one-hot",
        num_members=1,
        dropout=0.0,
        input_dropout=0.0,
        weight_drop=0.0,
        weight_decay=0.1,
        batch_size=32,
        bptt_length=128,
        learning_rate=0.003,
        steps=1,
        evaluate_every=1,
        save_every=1,
        validation_chars=None,
        precision="fp32",
        threads=1,
    )

    # All that such a network has, in the shapes that it has here.
    ours = {}
    for name, shape in weight_shapes(config, vocab_size).items():
        if name in matched:
            ours[name] = tensors[matched[name]]
            # MLX adds the rest of this bias of a GRU to the other one.
            if matched[name].endswith(".bhn"):
                ours[name] = np.pad(ours[name], (2 * hidden_size, 0))
        else:  # a bias
            ours[name] = np.zeros(shape, np.float32)
        if ours[name].shape != shape:
            raise _misfit(
                path, name=matched[name], tensors=tensors, wanted=f"{shape}, which {name} has here"
            )
    return Imported(config, tensors=ours, matched=matched)


def _split(tensors: Tensors, path: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return the names of the weights of each layer by kind, and all other names."""
    layers: dict[tuple[tuple[int, ...], int], dict[str, str]] = {}
    rest = []
    prefixes = set()
    for name in sorted(tensors):
        # All that is not a weight of a recurrent layer is around the layers.
        found = _RECURRENT.fullmatch(_name_of_torch(name, tensors))
        if found is None:
            rest.append(name)
            continue

        prefix, kind, index, reverse, raw = found.groups()
        if reverse:
            raise _unknown_model(
                path, name=name, what="a bidirectional network, which cannot generate"
            )
        if kind == "weight_hr":
            raise _unknown_model(path, name=name, what="a projection, an LSTM's proj_size")

        # A layer in a wrapper, as AWD-LSTM's, is the same layer. There `_raw` has the weight, and
        # without it stands a copy from which some were dropped.
        prefix = prefix.replace("module.", "")
        # Layers are numbered at the end of a name, or in its prefix where each is a module.
        prefixes.add(re.sub(r"\d+", "", prefix))
        numbers = tuple(map(int, re.findall(r"\d+", prefix)))
        layer = layers.setdefault((numbers, int(index or 0)), {})
        if raw or kind not in layer:
            layer[kind] = name

    # Names that differ by more than a number are those of an encoder and a decoder, or the like.
    if len(prefixes) != 1:
        what = "no weight_hh_l0"
        if prefixes:
            what = f"several recurrent networks: {', '.join(sorted(prefixes))}"
        raise CheckpointError(
            f"{path} has {what}\nimport reads one nn.LSTM, nn.GRU or nn.RNN with its output layer"
        )

    # By their numbers: as strings, layer 10 would come before layer 2.
    ordered = [layers[key] for key in sorted(layers)]
    for layer in ordered:
        for kind in ("weight_ih", "weight_hh"):
            if kind not in layer or tensors[layer[kind]].ndim != 2:
                raise CheckpointError(
                    f"{path}: {next(iter(layer.values()))} has no matrix {kind} beside it"
                )
    return ordered, rest


def _name_of_torch(name: str, tensors: Tensors) -> str:
    """Return what torch would call a weight of a recurrent layer of MLX; other names stay."""
    # Every layer has a `bias`: the matrix beside it tells.
    layer, _, kind = name.rpartition(".")
    is_recurrent = f"{layer}.Wh" in tensors or f"{layer}.Whh" in tensors
    if is_recurrent and kind in _MLX:
        return f"{layer}.{_MLX[kind]}"
    return name


def _unknown_model(path: Path, name: str, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: {name} belongs to {what}\ncharrnn has no such model: train one without it"
    )


class _Rank(NamedTuple):
    """How much a matrix (V, …) looks like the output layer; the largest is taken for it."""

    has_output_shape: bool
    has_bias: bool
    is_named_output: bool
    is_not_named_embedding: bool


def _match_outer(
    tensors: Tensors,
    rest: list[str],
    *,
    vocab_size: int,
    hidden_size: int,
    input_size: int,
    path: Path,
) -> dict[str, str]:
    """Return the names of the embedding, missing for one-hot vectors, and of the output layer by
    ours."""
    # The only vectors of V numbers that such a model has.
    biases = [name for name in rest if tensors[name].shape == (vocab_size,)]

    def rank(name: str) -> _Rank:
        is_embedding = _EMBEDDING.search(name) is not None
        return _Rank(
            has_output_shape=tensors[name].shape == (vocab_size, hidden_size),
            has_bias=f"{name.removesuffix('weight')}bias" in biases,
            is_named_output=_OUTPUT.search(name) is not None and not is_embedding,
            is_not_named_embedding=not is_embedding,
        )

    # The output layer first. Where V = E = H, or E = H, the shapes are the same and the names must
    # tell.
    matrices = []
    for name in rest:
        if tensors[name].ndim == 2 and len(tensors[name]) == vocab_size:
            matrices.append(name)
    matrices.sort(key=rank, reverse=True)
    found = dict(zip(("output.weight", "embedding.weight"), matrices, strict=False))
    if biases:
        found["output.bias"] = biases[0]

    # What has no place here would be missing from the model.
    for name in rest:
        if name not in found.values():
            wanted = f"one embedding, output layer and bias of {vocab_size:,} characters"
            raise _misfit(path, name=name, tensors=tensors, wanted=wanted)
    if not matrices or not rank(matrices[0]).has_output_shape:
        raise CheckpointError(
            f"{path} has no output layer ({vocab_size}, {hidden_size}): save the whole model"
        )

    # Two equal candidates are not chosen by chance: the wrong one predicts nothing.
    if len(matrices) > 1 and rank(matrices[0]) == rank(matrices[1]):
        wanted = "no part like it besides: rename the output layer head.weight"
        raise _misfit(path, name=matrices[1], tensors=tensors, wanted=wanted)

    # One matrix and inputs of another size than V: they are not one-hot vectors.
    if len(matrices) == 1 and input_size != vocab_size:
        raise CheckpointError(
            f"{path} has no embedding: {matrices[0]} would be both (tied weights)\nsave it under"
            " two names"
        )
    return dict(sorted(found.items()))


def _misfit(path: Path, name: str, tensors: Tensors, wanted: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: {name} has shape {tensors[name].shape}; wanted: {wanted}\nimport reads an"
        " embedding, nn.LSTM, nn.GRU or nn.RNN, and an output layer, with their whole vocabulary"
    )


def write_run(
    imported: Imported, vocab: Vocab, origin: Path, out: Path | None, measured: Measured | None
) -> Path:
    """Write a run folder with one checkpoint, at step 0, and return its path. What was `measured`
    is its validation.

    Raises UsageError if `out` exists and is not an empty folder, CharRNNError if it cannot be
    written.
    """
    from charrnn.runs.description import RunDescription
    from charrnn.runs.logs import MetricsLog
    from charrnn.runs.reader import CHECKPOINTS
    from charrnn.runs.writer import RunWriter, new_run
    from charrnn.training.events import EvaluationEvent

    # So that whoever finds the folder later knows that nothing was trained here.
    note = f"Imported by charrnn import from {origin.name}, which another program trained:\n\n"
    note += "\n".join(imported.report())

    def create() -> RunWriter:
        if out is None:
            return RunWriter.create(CHECKPOINTS, origin.stem)
        return RunWriter.create_at(out, can_resume=False)

    with new_run(create) as run:
        description = RunDescription.of(run.path, config=imported.config, vocab=vocab)
        run.write_description(description)

        # `is_imported`: no training can be resumed from it.
        state: dict[str, Any] = {
            "step": 0,
            "cursor": 0,
            "best_nats": None,
            "best_step": 0,
            "is_imported": True,
        }
        if measured is not None:
            state |= state_of_corpus(measured.corpus)
            state["best_nats"] = measured.loss.nats_per_char
            event = EvaluationEvent(
                step=0,
                seconds=0.0,
                val_nats=measured.loss.nats_per_char,
                val_bpc=measured.loss.bpc,
                num_chars=measured.loss.num_chars,
                is_best=True,
            )
            MetricsLog(run.path / "metrics.jsonl").append(event.to_json())
        run.commit(
            step=0,
            model=imported.tensors,
            training={},
            state=state,
            description=description,
            keep=2,
        )
        write_atomically(run.path / NOTE, f"{note}\n".encode("utf-8", "backslashreplace"))
    return run.path


@dataclass(frozen=True, kw_only=True)
class ImportOptions(CommandOptions):
    """What `charrnn import` takes."""

    file: str = argument("FILE", "The weights: .safetensors, or what torch.save wrote.")
    vocab: str = option(
        MISSING,
        flags="--vocab FILE",
        help="A JSON file: characters by id, or nanoGPT's stoi or itos.",
    )
    cell: str | None = option(
        None, flags="--cell CELL", help="For an nn.RNN: rnn (tanh) or irnn (relu)."
    )
    text: str | None = option(
        None,
        flags="--text FILE",
        help="Measure the loss on this text, and keep it as the validation text.",
    )
    out: Path | None = option(
        None, flags="--out DIR", help="Save the run in this new folder.", shown_default=NEW_RUN
    )


def import_model(options: ImportOptions) -> None:
    """Make a run of a model that another program trained: an LSTM, GRU or RNN of torch.nn or MLX.

    sample, visualize, explore, evaluate, export and train --init-from use it like a run. stderr
    lists which weight became which; the path of the run is printed on stdout. Nothing is unpickled.
    """
    from charrnn.api import Model

    # Everything is checked before the run folder is made.
    path = Path(options.file)
    alphabet = read_vocab(Path(options.vocab))
    tensors, left_out = read_tensors(path)
    imported = match(tensors, vocab_size=len(alphabet), path=path, cell=options.cell)
    imported = replace(imported, left_out=left_out)
    measured = None
    if options.text is not None:
        config = as_catalogued(imported.config, options.text)
        imported = replace(imported, config=replace(config, corpus=(options.text,)))
    model = Model(imported.config, vocab=alphabet, tensors=dict(imported.tensors), name=path.stem)
    # Raises CheckpointError for weights that predict nothing finite.
    model.generator.model_for("int8", clamps={})
    if options.text is not None:
        measured = _measure(model, options.text)

    run = write_run(imported, vocab=alphabet, origin=path, out=options.out, measured=measured)

    # A vocabulary in another order has the same shapes: only the loss tells.
    if measured is not None:
        nats = measured.loss.nats_per_char
        warn(tuple(doubts(model.name, nats=nats, vocab_size=len(alphabet))), quiet=options.quiet)

    if options.json:
        found: dict[str, Any] = {
            "run": str(run),
            "cell": imported.config.cell,
            "matched": imported.matched,
            "left_out": imported.left_out,
            "loss": None,
        }
        if measured is not None:
            loss = measured.loss
            found["loss"] = {
                "nats": loss.nats_per_char,
                "bits": loss.bpc,
                "chars": loss.num_chars,
            }
        print_json(found)
        return

    if not options.quiet:
        for line in _describe(imported, measured=measured, run=run):
            write_aside(printable(line))
    print_path(str(run))


def _describe(imported: Imported, measured: Measured | None, run: Path) -> list[str]:
    """Return what was guessed, so that a wrong guess can be noticed, the loss, and the next
    commands."""
    lines = imported.report()
    if imported.config.cell == "rnn":
        lines.append("an nn.RNN with tanh; if it has relu, give --cell irnn")

    # Standard input is gone after the measurement.
    text = " --text FILE"
    if measured is not None:
        loss = measured.loss
        [source] = imported.config.corpus
        lines.append(
            f"loss on {source}: {loss.nats_per_char:.4f} nats, {loss.bpc:.4f} bits per"
            f" character ({loss.num_chars:,} characters)"
        )
        if source != "-":
            text = ""

    name = shlex.quote(str(run))
    lines.append("Next:")
    lines.append(f"  charrnn sample {name}")
    lines.append(f"  charrnn visualize {name}{text}")
    lines.append(f"  charrnn evaluate {name}{text}")
    return lines


def _measure(model: Model, source: str) -> Measured:
    """Return the text of a file and the loss on it. Raises DataError for characters outside the
    alphabet if it has no unknown symbol."""
    from charrnn.evaluation.comparison import evaluate

    config = model.config
    corpus = read_corpus(
        [source],
        alphabet=config.alphabet,
        encoding=config.encoding,
        order=Order(config.order, config.order_seed),
        vocab=model.vocab,
        is_for_training=False,
    )
    return Measured(corpus, evaluate(model, CorpusPart(corpus, begin=1, end=len(corpus))))
