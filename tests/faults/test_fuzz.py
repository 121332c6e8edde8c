"""Fuzzing of the readers: for any content of a file, a reader returns a valid result or raises a
CharRNNError."""

import gzip
import os
import random
import re
import shutil
import time
from functools import partial

import pytest
from hand_built import vocab_of
from hostile_runs import put, step_of
from read_texts import read_corpus

import charrnn
from charrnn.config.settings_file import from_yaml, merge_settings, read_recipe, to_yaml
from charrnn.errors import CharRNNError
from charrnn.runs.checkpoint import VOCAB, read_alphabet, seal_manifest
from charrnn.runs.logs import MetricsLog, SampleLog
from charrnn.runs.overview import learning_curves, summarize
from charrnn.runs.reader import RunReader
from charrnn.training import loop
from charrnn.views.charts import learning_chart
from charrnn.views.svg import to_text
from charrnn.views.tables import runs_view

TOKENS = [
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\t",
    b'"',
    b"'",
    b"\\",
    b"\\ud800",
    b": ",
    b"- ",
    b"? ",
    b"<<: ",
    b"%YAML 9.9\n",
    b"--- ",
    b"0x" + b"f" * 5000,
    b"9" * 400,
    b"9" * 5000,
    b"[" * 300,
    b'{"a":' * 300,
    *b"{ } [ ] : , # &a *a ... | > ~ null true NaN Infinity -Infinity 1e999 -1 0 1".split(),
    *b"1:59:59 2001-99-99 .inf .nan -0 1.5 0o7 step auto byte F64 BF16 I64 BOOL shape format size".split(),
    *(
        b"!!%s " % name
        for name in b"int float set binary timestamp omap pairs str bool python/none".split()
    ),
    b"!!",
]
"""What the formats are made of, and what has broken readers before."""


def mutate(data, rng, others):
    """Change a file's bytes in one to four places: flips, cuts, copies, tokens, numbers, pieces of
    other files."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice((0, 1, 1, 2, 4, 8, 30, 200)))
        kind = rng.randrange(9)
        if kind == 0 and data:
            place = rng.randrange(len(data))
            data = data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
        elif kind == 1:
            data = data[:start] + data[end:]
        elif kind == 2:
            data = data[:end] + data[start:end] * rng.choice((1, 2, 50)) + data[end:]
        elif kind in (3, 4, 5):
            data = data[:start] + rng.choice(TOKENS) + data[end:]
        elif kind == 6:
            data = _with_another_number(data, rng)
        elif kind == 7:
            other = rng.choice(others)
            place = rng.randrange(len(other) + 1)
            data = data[:start] + other[place : place + rng.randrange(60)] + data[end:]
        else:
            data = data[:start] if rng.random() < 0.5 else data[start:]
    return data[:300_000]


def _with_another_number(data, rng):
    """Put another value where a number stands, which keeps the rest in order and so goes deeper
    than noise."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data[:20_000]))
    if not found:
        return data
    place = rng.choice(found)
    return data[: place.start()] + rng.choice(TOKENS) + data[place.end() :]


class Bench:
    """A real run to put changed files into, and what reads each kind of file. Seeds are files as
    they should be."""

    def __init__(self, trained, folder):
        self.run = folder / "checkpoints" / "run-001"
        shutil.copytree(trained, self.run)
        self.folder = folder
        self.pristine = {path: path.read_bytes() for path in self.run.rglob("*") if path.is_file()}
        step, saved = step_of(self.run), self.pristine
        text = "the lamb and the wölf\r\n".encode() * 20
        japanese = "羊と狼\n".encode("shift_jis") * 9
        self.readers = {
            "config.yaml": (saved[self.run / "config.yaml"], self.read_config),
            "recipe": (
                b"cell_type: gru\nsplit: 80/10/10\nlearning_rate: 1e-3\nsteps: 20\n",
                self.read_recipe,
            ),
            "manifest.json": (saved[step / "manifest.json"], self.read_manifest),
            **{
                name: (saved[step / name], partial(self.read_in_run, name))
                for name in (
                    "vocab.json",
                    "training.json",
                    "model.safetensors",
                    "training.safetensors",
                )
            },
            "metrics.jsonl": (saved[self.run / "metrics.jsonl"], self.read_metrics),
            "samples.txt": (saved[self.run / "samples.txt"], self.read_samples),
            "corpus": (text, partial(self.read_text, "char", "utf-8")),
            "corpus of bytes": (text, partial(self.read_text, "byte", "utf-8")),
            "corpus in UTF-16": (
                text.decode().encode("utf-16"),
                partial(self.read_text, "char", "utf-16"),
            ),
            "corpus in Shift JIS": (japanese, partial(self.read_text, "char", "shift-jis")),
            "corpus in .gz": (
                gzip.compress(text, mtime=0),
                partial(self.read_text, "char", "utf-8", suffix=".gz"),
            ),
        }
        assert set(self.readers) == set(NAMES)

    def read(self, name, data):
        """Read a changed file, and make the run what it was."""
        try:
            self.readers[name][1](data)
        finally:
            shutil.rmtree(self.run)
            for path, content in self.pristine.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    def read_config(self, data):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        config = from_yaml(text, "config.yaml")
        assert from_yaml(to_yaml(config), "config.yaml") == config
        self.read_in_run("config.yaml", data)

    def read_recipe(self, data):
        path = self.folder / "recipe.yaml"
        path.write_bytes(data)
        config = merge_settings(
            flags={}, file=read_recipe(str(path)), file_name="recipe", environment={}
        ).config
        to_yaml(config)

    def read_in_run(self, name, data):
        """Load the run with a file in the place of its own, signed; write a little with it, or take
        a step."""
        put(self.run, name, data)
        run = RunReader(self.run)
        read_alphabet(run.path / VOCAB)
        to_text([runs_view([summarize(run)])])
        charrnn.load(self.run).sample(length=3)
        if name in SLOW:
            list(loop.resume(self.run, {"steps": 3}))

    def read_manifest(self, data):
        """Load the run with a manifest under the SHA-256 of what it says now, as far as it still
        has one."""
        body, comma, _ = data.rpartition(b',\n  "sha256": "')
        (step_of(self.run) / "manifest.json").write_bytes(
            seal_manifest(body + b"\n}\n") if comma else data
        )
        charrnn.load(self.run).sample(length=3)

    def read_metrics(self, data):
        log = MetricsLog(self.run / "metrics.jsonl")
        log.path.write_bytes(data)
        to_text([runs_view([summarize(RunReader(self.run))])])
        to_text([learning_chart(learning_curves([self.run]))])
        log.rewind(1)
        log.read()

    def read_samples(self, data):
        log = SampleLog(self.run / "samples.txt")
        log.path.write_bytes(data)
        log.steps()
        log.rewind(1)
        log.append(2, "lamb")

    def read_text(self, alphabet, encoding, data, suffix=""):
        path = self.folder / f"text.txt{suffix}"
        path.write_bytes(data)
        corpus = read_corpus([str(path)], alphabet=alphabet, encoding=encoding)
        if isinstance(corpus.content, str):
            vocab_of(corpus.content).encode(corpus.content)


@pytest.fixture(scope="module")
def bench(train_run, tmp_path_factory):
    trained = train_run("fuzzed-001", steps=2, keep=0, hidden_size=4, embedding_size=3)
    return Bench(trained.path, tmp_path_factory.mktemp("fuzz"))


NAMES = (
    "config.yaml",
    "recipe",
    "vocab.json",
    "manifest.json",
    "training.json",
    "model.safetensors",
    "training.safetensors",
    "metrics.jsonl",
    "samples.txt",
    "corpus",
    "corpus of bytes",
    "corpus in UTF-16",
    "corpus in Shift JIS",
    "corpus in .gz",
)
SLOW = ("training.json", "training.safetensors")
"""Read by taking up training."""


def fuzz(bench, name, rng, should_stop):
    """Read changed files until `stop`; return how many were read and how many refused. Anything
    else raises."""
    seed = bench.readers[name][0]
    others = [data for data, _ in bench.readers.values()]
    pool = [seed]
    num_read = num_refused = 0
    bench.read(name, seed)
    while not should_stop(num_read + num_refused):
        data = mutate(rng.choice(pool), rng, others)
        began = time.process_time()
        try:
            bench.read(name, data)
        except CharRNNError as error:
            num_refused += 1
            assert str(error).strip() and len(str(error)) < 3000, (
                f"{name}: {error!r:.300} for {data!r:.2000}"
            )
        except BaseException as error:
            raise AssertionError(f"{name}: {type(error).__name__} for {data!r:.2000}") from error
        else:
            num_read += 1
            # What is still read goes deeper the next time; the pool stays small and near the seed.
            pool = [*pool[-20:], data] if len(data) < 20_000 else pool
        seconds = time.process_time() - began
        assert seconds < 20, f"{name}: {seconds:.1f} s for {data!r:.2000}"
    return num_read, num_refused


@pytest.mark.parametrize("name", NAMES)
def test_changed_files_are_read_or_refused(bench, name):
    num_tries = 1 if name in SLOW else 20
    assert (
        sum(fuzz(bench, name, random.Random(name), lambda tried: tried >= num_tries)) == num_tries
    )


@pytest.mark.thorough
def test_changed_files_are_read_or_refused_for_ten_minutes(bench):
    seconds = float(os.environ.get("FUZZ_SECONDS", "600"))
    rng = random.Random(os.environ.get("FUZZ_SEED", "6"))
    for name in NAMES:
        end = time.monotonic() + seconds / len(NAMES)
        num_read, num_refused = fuzz(bench, name, rng, lambda _, end=end: time.monotonic() > end)
        print(f"{name}: {num_read:,} read, {num_refused:,} refused")
        assert num_read and (num_refused or name in ("samples.txt", "corpus of bytes")), (
            "both, but of what may be any"
        )


def test_fixed_defects_stay_fixed(bench):
    for name, data in (
        # What a changed file once did: a message of as many characters as the file has, or a
        # traceback.
        ("config.yaml", b"seed: 0x" + b"f" * 50_000),
        ("config.yaml", b"zoneout: 0x" + b"f" * 50_000),
        ("config.yaml", b"? " + b"k" * 50_000 + b"\n: 1"),
        ("vocab.json", b'{"kind": "char", "characters": ["", "' + b"a" * 50_000 + b'"]}'),
        ("training.json", b'{"step": 2, "cursor": 1' + b"0" * 400 + b', "corpus_digest": ""}'),
        ("metrics.jsonl", b'{"step": 1, "seconds": 1' + b"0" * 400 + b', "val_nats": 1}\n'),
        ("samples.txt", b"--- step " + b"9" * 5_000 + b" ---\nlamb\n"),
    ):
        if name in ("metrics.jsonl", "samples.txt"):
            bench.read(name, data)  # logs are read as far as they are whole
            continue
        with pytest.raises(CharRNNError) as refused:
            bench.read(name, data)
        assert len(str(refused.value)) < 3000
