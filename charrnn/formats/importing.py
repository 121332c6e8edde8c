"""charrnn import: make a run folder of a recurrent model that another program trained.

The model is an `nn.LSTM`, `nn.GRU` or `nn.RNN` of torch or MLX, with an embedding or one-hot
vectors, and an output layer. Every weight is known by its name: a name that is not expected is an
error. Nothing is unpickled: a .pt file is read with `weights_only`.

Shapes: V vocabulary, H hidden, G gates.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.cli.command_options import NEW_RUN, CommandOptions
from charrnn.cli.streams import print_json, print_path, printable, warn, write_aside
from charrnn.config.options import argument, option
from charrnn.config.settings import Config
from charrnn.errors import CheckpointError, UsageError, counted, named
from charrnn.evaluation.loss_reports import LossReport
from charrnn.evaluation.notes import doubts
from charrnn.model.shapes import weight_shapes
from charrnn.system.arrays import Float32Array
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

    from charrnn.trained_model import TrainedModel
else:
    safetensors_torch = LazyModule("safetensors.torch")

Tensors = Mapping[str, Float32Array]
"""Arrays by name."""
NOTE = "README.txt"
"""The file in the run folder that says where its weights come from."""
MAX_BYTES = 1 << 40
"""Maximum size of the file of weights."""
MAX_TIED = 4
"""How often a file may use its values: a matrix may be both the embedding and the output layer."""
_CELLS = {4: ("lstm",), 3: ("gru",), 1: ("rnn", "irnn")}
"""Cell types by the number of gates; the first of several is the default."""
_RECURRENT = re.compile(
    r"(.*?)(weight_ih|weight_hh|bias_ih|bias_hh|weight_hr)(?:_l(\d+))?(_reverse)?"
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
"""The names in torch of the weights of `mlx.nn.LSTM`, `GRU` and `RNN`, which have the same shapes
and the gates in the same order. `bhn` is the last third of a `bias_hh`."""
_SYMBOL = re.compile(r"<\w+>|\[[A-Z]+\]|unk|pad", re.IGNORECASE)
"""A symbol that stands for no character, such as <unk> or <pad>."""
_TO_JSON = 'import json, pickle; json.dump(pickle.load(open({}, "rb")), open({}, "w"))'
"""Python that turns a pickle into JSON."""
_EMBEDDINGS = ("embedding", "embed", "emb", "encoder", "wte")
"""The names of modules that are the embedding."""
_OUTPUTS = ("output", "out", "head", "decoder", "fc", "linear")
"""The names of modules that are the output layer."""
_OUTER = {f"{module}.weight": "embedding.weight" for module in _EMBEDDINGS}
_OUTER |= {
    f"{module}.{kind}": f"output.{kind}" for module in _OUTPUTS for kind in ("weight", "bias")
}
"""The name in charrnn of each weight outside of the recurrent layers, by the end of its name in the
file."""


@dataclass(frozen=True, slots=True)
class Imported:
    """The weights of a model under the names of charrnn, and its settings."""

    config: Config
    tensors: Tensors
    matched: Mapping[str, str]
    """The name of each weight in the file, by its name in charrnn. A bias that the file lacks is
    not listed, and is zero."""
    left_out: Sequence[str] = ()
    """The entries of the file that are no weights."""

    def report(self) -> list[str]:
        """List the name in the file and in charrnn of each weight, one per line, and the entries
        that were left out."""
        lines = [f"{name_in_file} -> {name}" for name, name_in_file in self.matched.items()]
        if self.left_out:
            lines.append(f"left out, because no weights: {', '.join(self.left_out)}")
        return lines


@dataclass(frozen=True, slots=True)
class TextLoss:
    """A text, and the loss of a model on it."""

    corpus: Corpus
    loss: LossReport


def _is_no_weight(value: object) -> bool:
    """Whether an entry is no weight: it is no tensor, or it is a tensor with a single integer, such
    as the `num_batches_tracked` of a normalization layer."""
    if not isinstance(value, torch.Tensor):
        return True
    return value.ndim == 0 and not value.is_floating_point() and not value.is_complex()


def read_tensors(path: Path) -> tuple[Tensors, Sequence[str]]:
    """Read a .safetensors file or, with any other suffix, a file of `torch.save`. Return its
    tensors, and the names of its entries that are no weights.

    Raises CheckpointError for any other file.
    """
    data = read_capped(behind_links(path), max_bytes=MAX_BYTES)
    try:
        if path.suffix == ".safetensors":
            content: Any = safetensors_torch.load(data)
        else:
            _check_uncompressed(data)
            # For a plain pickle torch also prints a warning, with a line of its source.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    # The two readers raise various errors if the file has another format, is damaged or contains
    # more than tensors.
    except Exception as error:
        # After the first sentence, the message of torch recommends unpickling.
        reason = " ".join(str(error).partition(".")[0].split())[:120]
        # If a file is no archive and no pickle, the message of torch names only a position in it.
        if not reason or not (path.suffix == ".safetensors" or data.startswith((b"PK", b"\x80"))):
            reason = "it is empty, damaged or of another kind"
        raise CheckpointError(
            f"{path} cannot be read as tensors: {reason}\n"
            "save model.state_dict() with safetensors.torch.save_file; nothing is unpickled"
        ) from error

    content = _weights_in(content, path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} contains no tensors by name: save model.state_dict()")

    # Some programs save counters and settings among the weights.
    left_out = [str(name) for name, value in content.items() if _is_no_weight(value)]
    tensors = {str(name): value for name, value in content.items() if not _is_no_weight(value)}
    for tensor in tensors.values():
        if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized:
            raise CheckpointError(
                f"{path} contains more than dense tensors: save model.state_dict() alone"
            )

    # A file of some bytes can give a tensor any shape, by repeating its values, and can name a
    # tensor many times.
    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if num_bytes > MAX_TIED * len(data):
        raise CheckpointError(
            f"{path} has {counted(len(data), 'byte')}, and its tensors have {num_bytes:,}: it"
            " repeats values\nsave copies of the tensors, with .contiguous()"
        )

    # Integers would be quantized weights, which are useless without their scales.
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not torch.isfinite(tensor.float()).all():
            raise CheckpointError(
                f"{path}: {name} of {tensor.dtype} has values that are not finite floats of 32"
                " bits\nsave it as float32, or mend it"
            )

    arrays = {name: tensor.detach().float().numpy() for name, tensor in tensors.items()}
    return arrays, left_out


def _check_uncompressed(data: bytes) -> None:
    """Raise ValueError for a .zip of compressed files, which torch would unpack whatever their
    size."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        methods = {entry.compress_type for entry in archive.infolist()}
    if methods - {zipfile.ZIP_STORED}:
        raise ValueError("its files are compressed, as torch.save does not")


def _weights_in(checkpoint: Any, path: Path) -> Any:
    """Return the entry of a checkpoint that is the state_dict of a recurrent network, or the whole
    checkpoint if no entry is one. Programs save other entries, too.

    Raises CheckpointError if there are several, such as a model and its moving average.
    """
    # The caller reports a checkpoint that is no dict.
    if not isinstance(checkpoint, dict):
        return checkpoint

    networks = {}
    for name, entry in checkpoint.items():
        if isinstance(entry, dict) and any("weight_hh" in str(key) for key in entry):
            networks[str(name)] = entry
    if len(networks) > 1:
        raise CheckpointError(
            f"{path} has several models: {', '.join(networks)}\nsave the state_dict of one alone"
        )
    return next(iter(networks.values()), checkpoint)


def read_vocab(path: Path) -> Vocab:
    """Read an alphabet: a JSON list of characters by id, or an object with `chars`, `itos` or
    `stoi`, as nanoGPT's.

    Entry 0 may be a symbol, such as <unk> or <pad>. It becomes the unknown symbol, which is never
    generated. Raises CheckpointError, which names the entry that is no character.
    """
    # The size is limited, because the user may have given the file of weights by mistake.
    content = read_capped(behind_links(path), max_bytes=MAX_TEXT_BYTES)
    # The file is a pickle, such as nanoGPT's meta.pkl. Loading it could run any program.
    if content.startswith(b"\x80"):
        # The names are in double quotes, because the code is in single quotes in the shell.
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

    # The object may have an entry with the characters, or may itself map characters and ids.
    if isinstance(data, dict):
        for name in ("characters", "chars", "itos", "stoi"):
            if name in data:
                data = data[name]
                break
    if isinstance(data, dict):
        data = _by_id(data, path)

    # `Vocab.from_json` checks the types.
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
    """Give the weights the names of charrnn. `cell` is the type of a cell with one gate: rnn (tanh)
    or irnn (relu).

    Raises CheckpointError, which names the tensor that does not fit.
    """
    # The sizes and the cell type follow from the first layer, whose recurrent matrix is (G H, H).
    layers, other_names = _split(tensors, path)
    first = layers[0]["weight_hh"]
    hidden_size = tensors[first].shape[-1]
    input_size = tensors[layers[0]["weight_ih"]].shape[-1]
    num_gates = len(tensors[first]) // max(1, hidden_size)

    # The shapes show everything except whether the activation is tanh or relu.
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

    matched = _match_outer(other_names, path)
    for index, layer in enumerate(layers):
        for kind, name in layer.items():
            matched[f"layers.{index}.{kind}_l0"] = name

    # The settings of the training are unknown. Those that only training uses get usual values.
    config = Config(
        corpus=(f"imported from {path.stem}",),
        alphabet="char",
        clean=False,
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

    # Collect all weights of such a network, and check their shapes.
    weights = {}
    for name, shape in weight_shapes(config, vocab_size).items():
        if name in matched:
            weights[name] = tensors[matched[name]]
            # In a GRU of MLX, only the last third is a bias of its own; the other bias contains the
            # rest.
            if matched[name].endswith(".bhn"):
                weights[name] = np.pad(weights[name], (2 * hidden_size, 0))
        else:  # a bias
            weights[name] = np.zeros(shape, np.float32)
        if weights[name].shape != shape:
            raise _misfit(
                path, name=matched[name], tensors=tensors, wanted=f"{shape}, which {name} has here"
            )
    return Imported(config, tensors=weights, matched=matched)


def _split(tensors: Tensors, path: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return the names of the weights of each recurrent layer by kind, and all other names."""
    layers: dict[tuple[tuple[int, ...], int], dict[str, str]] = {}
    other_names = []
    prefixes = set()
    for name in sorted(tensors):
        recurrent_name = _RECURRENT.fullmatch(_name_of_torch(name, tensors))
        if recurrent_name is None:
            other_names.append(name)
            continue

        prefix, kind, index, reverse = recurrent_name.groups()
        if reverse:
            raise _unknown_model(
                path, name=name, what="a bidirectional network, which cannot generate"
            )
        if kind == "weight_hr":
            raise _unknown_model(path, name=name, what="a projection, an LSTM's proj_size")

        # The number of a layer is at the end of the name, or in its prefix if each layer is a
        # module.
        prefixes.add(re.sub(r"\d+", "", prefix))
        numbers = tuple(map(int, re.findall(r"\d+", prefix)))
        layers.setdefault((numbers, int(index or 0)), {})[kind] = name

    # If prefixes differ by more than a number, there are several networks, such as an encoder and a
    # decoder.
    if len(prefixes) != 1:
        what = "no weight_hh_l0"
        if prefixes:
            what = f"several recurrent networks: {', '.join(sorted(prefixes))}"
        raise CheckpointError(
            f"{path} has {what}\nimport reads one nn.LSTM, nn.GRU or nn.RNN with its output layer"
        )

    # The layers are sorted by numbers: as strings, layer 10 would come before layer 2.
    ordered = [layers[key] for key in sorted(layers)]
    for layer in ordered:
        for kind in ("weight_ih", "weight_hh"):
            if kind not in layer or tensors[layer[kind]].ndim != 2:
                raise CheckpointError(
                    f"{path}: {next(iter(layer.values()))} has no matrix {kind} beside it"
                )
    return ordered, other_names


def _name_of_torch(name: str, tensors: Tensors) -> str:
    """Return the name in torch of a weight of a recurrent layer of MLX; other names stay."""
    # Layers of all kinds have a `bias`: the matrix of the layer shows that it is recurrent.
    layer, _, kind = name.rpartition(".")
    is_recurrent = f"{layer}.Wh" in tensors or f"{layer}.Whh" in tensors
    if is_recurrent and kind in _MLX:
        return f"{layer}.{_MLX[kind]}"
    return name


def _unknown_model(path: Path, name: str, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: {name} belongs to {what}\ncharrnn has no such model: train one without it"
    )


def _match_outer(names: Sequence[str], path: Path) -> dict[str, str]:
    """Return the names in the file of the embedding and the output layer, by their names in
    charrnn. The embedding is missing for one-hot vectors. Raises CheckpointError for any other
    name."""
    matched: dict[str, str] = {}
    for name in names:
        known = _OUTER.get(".".join(name.split(".")[-2:]))
        if known is None or known in matched:
            raise _unexpected_name(path, what=f"an unexpected {name}")
        matched[known] = name
    if "output.weight" not in matched:
        raise _unexpected_name(path, what="no output layer")
    return dict(sorted(matched.items()))


def _unexpected_name(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path} has {what}\nrename the embedding to embedding.weight (one-hot vectors have none)"
        " and the output layer to output.weight and output.bias; all else must be one nn.LSTM,"
        " nn.GRU or nn.RNN"
    )


def _misfit(path: Path, name: str, tensors: Tensors, wanted: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: {name} has shape {tensors[name].shape}; wanted: {wanted}\nimport reads an"
        " embedding, nn.LSTM, nn.GRU or nn.RNN, and an output layer, with their whole vocabulary"
    )


def write_run(
    imported: Imported, vocab: Vocab, origin: Path, out: Path | None, measured: TextLoss | None
) -> Path:
    """Write a run folder with one checkpoint at step 0, and return its path. `measured` becomes its
    validation.

    Raises UsageError if `out` exists and is not an empty folder, CharRNNError if it cannot be
    written.
    """
    from charrnn.runs.config_files import RunDescription
    from charrnn.runs.logs import MetricsLog
    from charrnn.runs.reader import CHECKPOINTS
    from charrnn.runs.writer import RunWriter, new_run
    from charrnn.training.events import EvaluationEvent

    # The note tells later readers of the folder that the model was trained elsewhere.
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
                first_guess=measured.loss.first_guess,
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
    """The options of `charrnn import`."""

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
    from charrnn.trained_model import TrainedModel

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
    model = TrainedModel(
        imported.config, vocab=alphabet, tensors=dict(imported.tensors), name=path.stem
    )
    # This raises CheckpointError if the predictions are not finite.
    model.generator.model_for("int8", clamps={})
    if options.text is not None:
        measured = _measure(model, options.text)

    run = write_run(imported, vocab=alphabet, origin=path, out=options.out, measured=measured)

    # A vocabulary in the wrong order fits the shapes: only the loss shows it.
    if measured is not None:
        nats = measured.loss.nats_per_char
        warn(tuple(doubts(model.name, nats=nats, vocab_size=len(alphabet))), quiet=options.quiet)

    if options.json:
        result: dict[str, Any] = {
            "run": str(run),
            "cell": imported.config.cell,
            "matched": imported.matched,
            "left_out": imported.left_out,
            "loss": None,
        }
        if measured is not None:
            loss = measured.loss
            result["loss"] = {
                "nats": loss.nats_per_char,
                "bits": loss.bpc,
                "chars": loss.num_chars,
            }
        print_json(result)
        return

    if not options.quiet:
        for line in _describe(imported, measured=measured, run=run):
            write_aside(printable(line))
    print_path(str(run))


def _describe(imported: Imported, measured: TextLoss | None, run: Path) -> list[str]:
    """Describe the matched weights, so that the user can check them, the loss, and the
    next commands."""
    lines = imported.report()
    if imported.config.cell == "rnn":
        lines.append("an nn.RNN with tanh; if it has relu, give --cell irnn")

    # Standard input cannot be read again after the measurement.
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


def _measure(model: TrainedModel, source: str) -> TextLoss:
    """Return the text of a file, and the model's loss on it. Raises DataError for characters
    outside the alphabet if it has no unknown symbol."""
    from charrnn.evaluation.comparison import evaluate

    config = model.config
    corpus = read_corpus(
        [source],
        alphabet=config.alphabet,
        encoding=config.encoding,
        order=Order(config.order, config.order_seed),
        is_cleaned=config.clean,
        vocab=model.vocab,
        is_for_training=False,
    )
    return TextLoss(corpus, evaluate(model, CorpusPart(corpus, begin=1, end=len(corpus))))
