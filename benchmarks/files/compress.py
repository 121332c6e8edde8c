"""Measure compression by a model: sizes beside xz, PPMd and zstd, speeds beside published ones, the
gain of n-grams, coded bytes beside the loss.

    python benchmarks/files/compress.py --corpora FOLDER    # trains on shakespeare.txt and war-and-peace.txt of the folder
    python benchmarks/files/compress.py --run RUN ...       # trained runs, each with its own text; no training
    python benchmarks/files/compress.py                     # trains on the source of the standard library
    python benchmarks/files/compress.py --run RUN --only mixing --orders 4 6
    python benchmarks/files/compress.py --run RUN --only audit

--minutes N: of each training. --quick: shorter texts and one repeat, under two minutes with --run.

Sizes: the held-out text of a run (its test text, if it has one); MESSAGES paragraphs of it,
compressed one by one; random bytes. The model is included once for all messages. xz is `xz -9e`.
PPMd is variant H in 256 MiB (`pyppmd`), its order the best of PPMD_ORDERS for the whole text;
`after_training`: what the held-out text adds to the file of training and held-out text together.
zstd is level 19 with a trained dictionary of 110 KiB (`zstandard`). Where a package is missing, its
column is empty.

Speeds: characters per second of random weights and 65 characters.
One row is read by the stepper in NumPy and by compiled code, 64 rows by compiled code. The last
rows are of other programs, as their authors publish them.

Mixing: bits per character of the fp32 model mixed with n-gram counts of the text itself, which grow
as it is read (Witten & Bell 1991, interpolated from order 1 on). A mixture has a weight for each
length of the longest context that occurred, learned as the text is read. Rows start with empty
counts.

Audit: what the coder writes of the held-out text beside its code length, which the stepper in NumPy
computes without the coder, all rows side by side, by the logarithm of a softmax of floating-point
numbers. A row has as many bytes as its code length needs; one less if the last would be zero.
"""

import argparse
import lzma
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

import charrnn
from benchmarks.measuring import Report, in_turn, make_parser
from charrnn.api import Model
from charrnn.config.settings import Config
from charrnn.formats.crnn.command import coder_of
from charrnn.formats.crnn.container import MAX_ROWS, ROW_BYTES, cut_rows
from charrnn.formats.crnn.rows import BYTE_BITS, KIND_BITS, RowCoder, Symbols
from charrnn.generation import sampling
from charrnn.generation.distribution import log_softmax
from charrnn.model.network import CharRNN
from charrnn.model.stepper import Stepper
from charrnn.text.vocab import Vocab

TEXTS = ("shakespeare.txt", "war-and-peace.txt")
"""Files of --corpora that are used, where they exist."""
MESSAGES = 200
"""Paragraphs that are compressed one by one."""
RANDOM_BYTES = 100_000
"""Length of the random file."""
DICTIONARY_BYTES = 112_640
"""Size of the dictionary of zstd, the default of its program."""
PPMD_ORDERS = (4, 5, 6, 8, 16)
"""Orders of PPMd that are tried."""
SHAPES = ((1, 512), (2, 128))
"""Layers and units of the models whose speed is measured."""
ROWS, ROW_CHARS, ONE_ROW_CHARS = 64, 4_096, 1_500
"""Rows and characters of a row for compiled code; characters of the one row in NumPy."""
PUBLISHED = {"lstm-compress": 4_400, "NNCP, small LSTM": 42_000}
"""Bytes per second of other compressors by recurrent networks, as published; the machines differ.
"""


def content(text: str | bytes) -> bytes:
    """Return a text as bytes."""
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


def trained_run(path: Path | None, minutes: float, folder: Path) -> Model:
    """Train a run on a file, or on the standard library."""
    name = "stdlib" if path is None else path.stem
    print(f"training on {name}, {minutes:g} minutes ...", file=sys.stderr, flush=True)
    settings: dict[str, Any] = {} if path is None else {"corpus": (str(path),)}
    for _ in charrnn.train(
        Config(minutes=minutes, split=(80, 10, 10), **settings), out=folder / name
    ):
        pass
    return charrnn.load(folder / name)


def parts_of(model: Model) -> tuple[bytes, bytes]:
    """Return the training text and the held-out text of a run."""
    held_out = model.held_out("test" if len(model.config.split) > 2 else "validation")
    return content(model.training_text(held_out)[:]), content(held_out[:])


def messages_of(text: bytes, num_messages: int) -> list[bytes]:
    """Return paragraphs that are spread evenly over a text; of a text with too few, pieces of 200
    bytes."""
    paragraphs = [one for one in text.split(b"\n\n") if one.strip()]
    if len(paragraphs) < num_messages:
        paragraphs = [text[begin : begin + 200] for begin in range(0, len(text), 200)]
    places = np.linspace(0, len(paragraphs) - 1, min(num_messages, len(paragraphs))).astype(int)
    return [paragraphs[place] for place in places]


def xz(data: bytes) -> int:
    """Return the bytes of `xz -9e`."""
    return len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def ppmd_with(order: int) -> Callable[[bytes], int] | None:
    """Return what counts the bytes of PPMd of an order; None if it is not installed."""
    try:
        import pyppmd
    except ImportError:
        return None
    return lambda data: len(pyppmd.compress(data, max_order=order, mem_size=256 << 20, variant="H"))


def zstd_with(training: bytes) -> Callable[[bytes], int] | None:
    """Return what counts the bytes of zstd with a dictionary of a training text; None if it is not
    installed."""
    try:
        import zstandard
    except ImportError:
        return None
    samples = [training[begin : begin + 1024] for begin in range(0, len(training), 1024)]
    dictionary = zstandard.train_dictionary(DICTIONARY_BYTES, samples)
    return lambda data: len(zstandard.ZstdCompressor(level=19, dict_data=dictionary).compress(data))


def compare_sizes(report: Report, model: Model, most_chars: int, num_messages: int) -> None:
    """Add the sizes of the held-out text, of messages of it, and of random bytes."""
    training, held_out = parts_of(model)
    held_out = held_out[:most_chars].decode("utf-8", "ignore").encode()
    noise = np.random.default_rng(0).bytes(RANDOM_BYTES)
    model_bytes = len(model.compress(b"", with_model=True)) - len(model.compress(b""))
    tried = [(order, count(held_out)) for order in PPMD_ORDERS if (count := ppmd_with(order))]
    order = min(tried, key=lambda one: one[1])[0] if tried else 0
    ppmd, zstd = ppmd_with(order), zstd_with(training)
    for name, texts in (
        ("held out", [held_out]),
        ("messages", messages_of(held_out, num_messages)),
        ("random", [noise]),
    ):
        num_bytes = sum(map(len, texts))
        ours = 0
        for text in texts:
            file = model.compress(text)
            assert model.decompress(file) == text, "a file restores its text"
            ours += len(file)
        primed = ppmd(training + held_out) - ppmd(training) if ppmd and name == "held out" else None
        report.add(
            run=model.name,
            text=name,
            files=len(texts),
            bytes=num_bytes,
            charrnn=ours,
            bits_per_byte=8 * ours / num_bytes,
            with_model=ours + model_bytes,
            xz=sum(map(xz, texts)),
            ppmd=sum(map(ppmd, texts)) if ppmd else None,
            ppmd_order=order or None,
            ppmd_after_training=primed,
            zstd_dictionary=sum(map(zstd, texts)) if zstd else None,
        )


def rates_of(coder: RowCoder, texts: list[bytes], repeats: int) -> list[float]:
    """Return the characters per second of both directions, after a call that compiles."""
    coded = coder.encode(texts)
    sizes = [len(text) for text in texts]
    assert coder.decode(coded, sizes) == texts, "coded rows are restored"
    calls = (lambda: coder.encode(texts), lambda: coder.decode(coded, sizes))
    return [
        sum(sizes) / seconds
        for seconds in in_turn(*calls, warm_ups=0, repeats=repeats, at_least_seconds=0.0)
    ]


def compare_speeds(report: Report, repeats: int) -> None:
    """Add the speeds of one row in NumPy and of many in compiled code, in both directions."""
    vocab = Vocab("char", ("", *map(chr, range(59, 123))))
    drawn = np.random.default_rng(0).integers(59, 123, ROWS * ROW_CHARS).astype(np.uint8).tobytes()
    rows = [drawn[begin : begin + ROW_CHARS] for begin in range(0, len(drawn), ROW_CHARS)]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    for num_layers, hidden_size in SHAPES:
        config = Config(
            cell="lstm",
            num_layers=num_layers,
            hidden_size=hidden_size,
            embedding_size=64,
            dropout=0.0,
        )
        tensors = {
            name: value.numpy() for name, value in CharRNN(config, len(vocab)).state_dict().items()
        }
        coder = RowCoder(Stepper(config, tensors, "int8"), vocab)
        many = [(rows, ROW_CHARS, num) for num in (1, 2) if num <= len(cores)]
        slowest = None
        for texts, length, num_threads in [
            (rows[:1], ONE_ROW_CHARS, 1),
            (rows[:1], ROW_CHARS, 1),
            *many,
        ]:
            texts = [text[:length] for text in texts]
            sampling.COMPILED_FROM = sys.maxsize if length == ONE_ROW_CHARS else 0
            sampling.UNCACHED_FROM = 0
            if cores:
                os.sched_setaffinity(0, cores[:num_threads])
            rates = rates_of(coder, texts, repeats)
            slowest = slowest or rates
            report.add(
                model=f"lstm {num_layers}x{hidden_size}",
                rows=len(texts),
                compiled=length == ROW_CHARS,
                threads=num_threads,
                compress=rates[0],
                decompress=rates[1],
                over_one_row=min(rate / one for rate, one in zip(rates, slowest, strict=True)),
            )
        if cores:
            os.sched_setaffinity(0, cores)
    for name, rate in PUBLISHED.items():
        shape = dict.fromkeys(("rows", "compiled", "threads"))
        report.add(model=name, **shape, compress=rate, decompress=None, over_one_row=None)


def log_probabilities(model: Model, ids: Any, context: Any) -> Any:
    """Compute ln p (N, V) of each character after the text before it, in fp32."""
    inputs = torch.from_numpy(np.concatenate((context, ids))[:-1].astype(np.int64))[:, None]
    state, found = model.network.initial_state(1), []
    with torch.inference_mode():
        for block in inputs.split(4096):
            logits, state = model.network(block, state)
            found.append(logits[:, 0].log_softmax(-1).numpy())
    return np.concatenate(found)[len(context) - 1 :].astype(np.float64)


def count_ngrams(ids: list[int], order: int, vocab_size: int) -> tuple[Any, Any]:
    """Return p (N, V) by the counts so far, and the length (N,) of the longest context that
    occurred, plus 1."""
    counts: dict[tuple[int, ...], Any] = {}
    found, lengths = np.empty((len(ids), vocab_size)), np.zeros(len(ids), np.int64)
    for at, id in enumerate(ids):
        contexts = [tuple(ids[at - length : at]) for length in range(min(order, at + 1))]
        estimate = np.full(vocab_size, 1 / vocab_size)
        for context in contexts:
            if (some := counts.get(context)) is None:
                break
            num_different = np.count_nonzero(some)
            estimate = (some + num_different * estimate) / (some.sum() + num_different)
            lengths[at] += 1
        found[at] = estimate
        for context in contexts:
            counts.setdefault(context, np.zeros(vocab_size))[id] += 1
    return found, lengths


def linear_bits(model: Any, ngrams: Any, lengths: Any) -> float:
    """Sum -log2 of (1 - s) p + s q over characters with probabilities p and q (N,); s is learned by
    gradient."""
    weights, total = np.full(lengths.max() + 1, -2.0), 0.0
    for p, q, length in zip(model.tolist(), ngrams.tolist(), lengths.tolist(), strict=True):
        share = 1 / (1 + np.exp(-weights[length]))
        mixed = (1 - share) * p + share * q
        total -= np.log2(mixed)
        weights[length] += 0.02 * (q - p) / mixed * share * (1 - share)
    return total


def product_bits(model: Any, ngrams: Any, lengths: Any, ids: list[int]) -> float:
    """Sum -log2 of the normalized p^v q^w over characters, with ln p and ln q (N, V); v and w are
    learned."""
    weights, total = np.tile((1.0, 0.0), (lengths.max() + 1, 1)), 0.0
    for at, (id, length) in enumerate(zip(ids, lengths.tolist(), strict=True)):
        scores = np.stack((model[at], ngrams[at]))
        mixed = weights[length] @ scores
        mixed = np.exp(mixed - mixed.max())
        mixed /= mixed.sum()
        total -= np.log2(mixed[id])
        weights[length] += 0.002 * (scores[:, id] - scores @ mixed)
    return total


def compare_mixing(report: Report, model: Model, orders: list[int], most_chars: int) -> None:
    """Add the bits per character of the model alone and mixed with n-grams of each order, by the
    length of rows."""
    held_out = model.held_out("test" if len(model.config.split) > 2 else "validation")
    context, ids = (
        model.vocab.encode(held_out.context[-512:]),
        model.vocab.encode(held_out[:most_chars]),
    )
    logs = log_probabilities(model, ids, context)
    alone = -logs[np.arange(len(ids)), ids].mean() / np.log(2)
    for order in orders:
        for row in sorted({16_384, len(ids)}):
            linear = product = 0.0
            for begin in range(0, len(ids), row):
                some = ids[begin : begin + row].tolist()
                by_model, places = logs[begin : begin + row], (np.arange(len(some)), some)
                by_counts, lengths = count_ngrams(some, order, len(model.vocab))
                linear += linear_bits(np.exp(by_model[places]), by_counts[places], lengths)
                product += product_bits(by_model, np.log(by_counts), lengths, some)
            figures = {"linear": linear / len(ids), "product": product / len(ids)}
            gains = {f"{name}_gain_%": 100 * (1 - bpc / alone) for name, bpc in figures.items()}
            report.add(
                run=model.name,
                chars=len(ids),
                order=order,
                row_chars=row,
                alone=alone,
                **figures,
                **gains,
            )


def audit(report: Report, model: Model, most_chars: int) -> None:
    """Add the coded bytes of the held-out text, and its code length as it is computed."""
    _, held_out = parts_of(model)
    data = held_out[:most_chars].decode("utf-8", "ignore").encode()
    coder, _ = coder_of(model)
    rows: list[bytes] = []
    for begin in range(0, len(data), MAX_ROWS * ROW_BYTES):
        rows += cut_rows(data[begin : begin + MAX_ROWS * ROW_BYTES])
    coded = coder.encode(rows)
    sizes = [len(row) for row in rows]
    is_smaller = all(len(one) < size for one, size in zip(coded, sizes, strict=True))
    assert is_smaller, "a row that the model does not make smaller is stored as it is"
    assert coder.decode(coded, sizes) == rows, "coded rows are restored"
    symbols = [coder.to_symbols(row) for row in rows]
    char_bits = char_nats(coder, symbols) / np.log(2)
    row_bits = char_bits + [other_bits(row) for row in symbols]
    num_coded = sum(map(len, coded))
    num_computed = int(np.ceil(row_bits / 8).sum())
    num_chars = sum(int((row >= 0).sum()) for row in symbols)
    report.add(
        run=model.name,
        rows=len(rows),
        chars=num_chars,
        escaped_bytes=sum(map(len, symbols)) - num_chars,
        coded=num_coded,
        computed=num_computed,
        coded_bpc=8 * num_coded / num_chars,
        chars_alone_bpc=char_bits.sum() / num_chars,
        difference=num_coded / num_computed - 1,
    )


def char_nats(coder: RowCoder, rows: Sequence[Symbols]) -> Any:
    """Compute the sums (R,) of -ln p(character | all characters of its row before it), without
    other characters."""
    ids = [row[row >= 0] for row in rows]
    nats = np.zeros(len(rows))
    state, logits = coder.start(len(rows))
    for column in zip_longest(*ids, fillvalue=-1):
        chars = np.array(column)
        logprobs = log_softmax(logits)[np.arange(len(rows)), chars]
        nats -= np.where(chars < 0, 0, logprobs)
        logits, state = coder.stepper.step(chars, state)
    return nats


def other_bits(symbols: Symbols) -> float:
    """Compute the code length of what are no characters: the kind of each symbol, and the escaped
    bytes."""
    is_escaped = symbols < 0
    follows_escaped = np.append(False, is_escaped[:-1])
    total = BYTE_BITS * float(is_escaped.sum())
    for kinds in (is_escaped[~follows_escaped], is_escaped[follows_escaped]):
        num_before = np.arange(len(kinds))
        num_escaped = np.cumsum(kinds) - kinds  # among those before
        share = ((2 * num_escaped + 1) << KIND_BITS) // (2 * num_before + 2)
        share = np.maximum(1, share)
        parts = np.where(kinds, share, 2**KIND_BITS - share)
        total += float((KIND_BITS - np.log2(parts)).sum())
    return total


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Print the tables that were asked for."""
    if arguments.corpora:
        os.environ["CHARRNN_CORPORA"] = str(arguments.corpora)
    chosen = arguments.only or ["sizes", "speeds"]
    report = Report("compress", as_json=arguments.json, with_limits=False)
    if {"sizes", "mixing", "audit"} & {*chosen}:
        paths = [
            path
            for name in TEXTS
            if arguments.corpora and (path := arguments.corpora / name).exists()
        ]
        models = [charrnn.load(run) for run in arguments.run] or [
            trained_run(path, arguments.minutes, folder) for path in paths or [None]
        ]
        most_chars = 110_000 if arguments.quick else 1 << 24
        for model in models:
            if "sizes" in chosen:
                compare_sizes(report, model, most_chars, 30 if arguments.quick else MESSAGES)
        for model in models:
            if "mixing" in chosen:
                compare_mixing(report, model, arguments.orders, min(most_chars, 131_072))
        for model in models:
            if "audit" in chosen:
                audit(report, model, most_chars)
    if "speeds" in chosen:
        compare_speeds(report, 1 if arguments.quick else 3)
    report.close()


def main() -> None:
    """Read the options, and measure in a folder that is removed."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--corpora", type=Path, metavar="FOLDER", help=f"with {' and '.join(TEXTS)}"
    )
    parser.add_argument("--run", nargs="+", default=[], help="trained runs")
    parser.add_argument("--minutes", type=float, default=3.0, help="of each training")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=("sizes", "speeds", "mixing", "audit"),
        help="default: sizes and speeds",
    )
    parser.add_argument(
        "--orders", nargs="+", type=int, default=[4, 6], metavar="N", help="of mixing"
    )
    parser.add_argument("--quick", action="store_true", help="shorter texts, one repeat")
    with tempfile.TemporaryDirectory(prefix="charrnn-compress-") as folder:
        measure(parser.parse_args(), Path(folder))


if __name__ == "__main__":
    main()
