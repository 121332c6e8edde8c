"""Count the words that programs invent: charrnn, the programs of peers.py and n-grams, on the same text.

    python benchmarks/losses/words.py charrnn shakespeare.txt words.csv --run RUN
    python benchmarks/losses/words.py lstm shakespeare.txt words.csv
    python benchmarks/losses/words.py gru shakespeare.txt words.csv
    python benchmarks/losses/words.py transformer shakespeare.txt words.csv
    python benchmarks/losses/words.py ngrams shakespeare.txt words.csv
    python benchmarks/losses/words.py table shakespeare.txt words.csv

Each but the last adds rows to a CSV file, of which `table` prints a table: how many of a hundred
words are invented at each temperature, as a program writes by itself, and where it may only write
words of the text (`charrnn sample --known-words`; the other programs get the same rule).

A network of torch is trained for `--steps`, by default as many as it took in the three minutes of
docs/peers.csv, so that other work beside it changes nothing. `--run` is a run of charrnn on the same
text, of whose steps the last one writes. n-grams are those of `ngrams` of charrnn (Kneser and Ney), up
to 16 characters.

Each writes 64 texts of 250 characters after a name, at each temperature, with and without the rule. An
invented word is one that does not stand in the first nine tenths of the text, neither as it is nor in
small letters nor with a capital. Words are divided here, and not by charrnn: a word is a run of letters
and marks. Apostrophes and hyphens inside belong to it, and once more they part it; what is invented by
one of both divisions is invented. The last word of a text may be cut, and is left out.
"""

import argparse
import csv
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import charrnn
from benchmarks.losses import peers
from benchmarks.measuring import print_table
from charrnn.generation.known_words import BETWEEN, WordTable
from charrnn.model.losses import WINDOWED
from charrnn.ngrams.kneser_ney import discounts_of
from charrnn.text.vocab import Vocab
from charrnn.text.word_list import WordList

TEMPERATURES = (0.5, 0.8, 1.0)
PRIME = "KING RICHARD:\n"
"""What is continued; a word begins after it."""
NUM_TEXTS = 64
NUM_CHARS = 250
"""Characters of each text."""
STEPS = {"lstm": 6_278, "gru": 4_056, "transformer": 1_502}
"""The steps that the networks of torch took in three minutes of two cores (seed 0)."""
JOINERS = "'’-‐‑"
"""Apostrophes and hyphens."""


class Words:
    """The words of a text, divided by a rule of their own."""

    def __init__(self, text: str) -> None:
        """List the words of a text, whose last one may be cut."""
        self.text = text
        self.joined = set(words_of(text, joins=True)[:-1])
        self._known = [self._forms(joins=joins) for joins in (True, False)]

    def _forms(self, *, joins: bool) -> set[str]:
        """Return all forms of the words: as they stand, in small letters, and with a capital."""
        forms = set()
        for word in set(words_of(self.text, joins=joins)[:-1]):
            for form in (word, word.lower()):
                forms |= {form, form[0].title() + form[1:]}
        return forms

    def count(self, written: str) -> tuple[int, int]:
        """Return how many words of a text are invented, by the division that finds more, and how
        many words it has, with their apostrophes and hyphens. The last one is left out."""
        counts = []
        for joins, known in zip((True, False), self._known, strict=True):
            words = words_of(written, joins=joins)[:-1]
            counts.append(sum(word not in known for word in words))
        return max(counts), len(words_of(written, joins=True)[:-1])


def words_of(text: str, *, joins: bool) -> list[str]:
    """Divide a text into its words: apostrophes and hyphens inside belong to a word, or part it."""
    letters = [one for one in sorted(set(text)) if unicodedata.category(one)[0] in "LM"]
    if not letters:
        return []
    run = f"[{re.escape(''.join(letters))}]+"
    if joins:
        run = f"{run}(?:[{re.escape(JOINERS)}]{run})*"
    return re.findall(run, text)


@dataclass(frozen=True)
class Measurement:
    """A row of the CSV file: what a program wrote at a temperature."""

    program: str
    loss: float
    """windowed-256 on the last tenth of the text, in nats per character; nan for n-grams."""
    temperature: float
    rule: str
    """`known words` or `any words`."""
    num_invented: int
    num_words: int
    num_different: int
    """Different words."""
    first: str
    """The first line of the first text."""


Write = Callable[[float, "WordTable | None"], list[str]]
"""Writes NUM_TEXTS texts after PRIME at a temperature, of known words if there is a table of them."""


class Program(NamedTuple):
    """A program that has learned the text."""

    name: str
    loss: float
    write: Write


class Rows:
    """The texts that a program writes side by side, and the words that they are in."""

    def __init__(self, table: WordTable | None, temperature: float, alphabet: Sequence[str]):
        self._alphabet = alphabet
        self._random = np.random.default_rng(0)
        self._table = table
        self._temperature = temperature
        self._states = [BETWEEN] * NUM_TEXTS
        self.texts = [""] * NUM_TEXTS

    def add(self, logits: NDArray[Any]) -> NDArray[np.int64]:
        """Draw the next character of each text from logits (NUM_TEXTS, V); return the ids."""
        logits = logits.astype(np.float64)
        if self._table is not None:
            allowed = np.stack([self._table.allowed(state) for state in self._states])
            logits = np.where(allowed, logits, -np.inf)
        weights = np.exp((logits - logits.max(1, keepdims=True)) / self._temperature)
        sums = weights.cumsum(1)
        drawn = sums > self._random.random((NUM_TEXTS, 1)) * sums[:, -1:]
        ids: NDArray[np.int64] = drawn.argmax(1)
        for row, id in enumerate(ids.tolist()):
            self.texts[row] += self._alphabet[id]
            if self._table is not None:
                self._states[row] = self._table.follow(self._states[row], id)
        return ids


def network_program(given: argparse.Namespace) -> Program:
    """Train a network of torch."""
    ids, alphabet, num_train = peers.read_ids(given.text)
    settings = peers.DEFAULTS[given.program]
    learner = peers.Learner(given.program, ids[:num_train], len(alphabet), 0, settings)
    steps = given.steps or STEPS[given.program]
    for step in range(steps):
        learner.learn(share=peers.share_of_rate(step / steps))

    network = learner.network.eval()
    reader = network
    # A Transformer reads the last characters again, a recurrent network carries its state on.
    window = len(PRIME) + NUM_CHARS
    if given.program == "transformer":
        reader = peers.BlockReader(network, settings.window)
        window = settings.window
    with torch.inference_mode():
        loss = peers.loss_of(reader, ids[num_train:])

    @torch.inference_mode()
    def write(temperature: float, table: WordTable | None) -> list[str]:
        rows = Rows(table, temperature, alphabet)
        prime = [[alphabet.index(character)] for character in PRIME]
        read = torch.tensor(prime).expand(-1, NUM_TEXTS)
        if given.program == "transformer":
            for _ in range(NUM_CHARS):
                logits, _ = network(read[-window:], None)
                read = torch.cat((read, torch.from_numpy(rows.add(logits[-1].numpy()))[None]))
            return rows.texts
        logits, state = network(read, None)
        for _ in range(NUM_CHARS):
            drawn = torch.from_numpy(rows.add(logits[-1].numpy()))
            logits, state = network(drawn[None], state)
        return rows.texts

    return Program(peers.NAMES[given.program], loss, write)


class Ngrams:
    """n-grams of a text, from which it is written on: the equations of `ngrams.kneser_ney`, for all
    characters that may follow."""

    def __init__(self, ids: NDArray[np.uint16], vocab_size: int, order: int):
        """Count the n-grams of up to `order` characters of a text (N,)."""
        self.vocab_size = vocab_size
        self._keys: list[NDArray[np.int64]] = []
        self._counts: list[NDArray[np.int64]] = []
        self._discounts: list[NDArray[np.float64]] = []

        # An n-gram is the number of its context and a character; the context of a place is the n-gram,
        # one character shorter, that ends at the place before.
        characters = ids.astype(np.int64)
        at = np.zeros(len(ids), np.int64)
        contexts = np.zeros(len(ids), np.int64)
        for length in range(1, order + 1):
            keys, firsts, numbers, counts = np.unique(
                contexts[length - 1 :] * vocab_size + characters[length - 1 :],
                return_index=True,
                return_inverse=True,
                return_counts=True,
            )
            if length > 1:
                # The different characters before each shorter n-gram, and the beginning of the text.
                continuations = np.bincount(at[length - 1 :][firsts], minlength=len(self._keys[-1]))
                continuations[at[length - 2]] += 1
                self._add(continuations)
            if length == order:
                self._add(counts)
            self._keys.append(keys)
            at = np.zeros(len(ids), np.int64)
            at[length - 1 :] = numbers
            contexts = np.concatenate(([0], at[:-1]))

    def _add(self, counts: NDArray[np.int64]) -> None:
        """Keep the counts of the n-grams of a length, and their discounts."""
        num_with_count = np.bincount(np.minimum(counts, 5), minlength=5).tolist()
        discounts = np.array((0, *discounts_of(*num_with_count[1:5])))
        self._counts.append(counts)
        self._discounts.append(discounts[np.minimum(counts, 3)])

    def contexts_after(self, contexts: Sequence[int], id: int) -> list[int]:
        """Return the number of the n-gram of each length with which a text ends, from that of no
        characters on, after one more character. The list ends where none occurs."""
        after = [0]
        for keys, context in zip(self._keys[:-1], contexts, strict=False):
            key = context * self.vocab_size + id
            place = int(np.searchsorted(keys, key))
            if place == len(keys) or keys[place] != key:
                break
            after.append(place)
        return after

    def probabilities(self, contexts: Sequence[int]) -> NDArray[np.float64]:
        """Return the probability (V,) of each character after a text with these n-grams at its
        end."""
        probabilities = np.full(self.vocab_size, 1 / self.vocab_size)
        for length, context in enumerate(contexts):
            keys = self._keys[length]
            begin = context * self.vocab_size
            first, end = np.searchsorted(keys, (begin, begin + self.vocab_size))
            counts = self._counts[length][first:end]
            discounts = self._discounts[length][first:end]
            total = counts.sum()
            if total == 0:
                break
            probabilities = probabilities * discounts.sum() / total
            probabilities[keys[first:end] - begin] += (counts - discounts) / total
        return probabilities


def ngram_program(given: argparse.Namespace) -> Program:
    """Count the n-grams of the text."""
    ids, alphabet, num_train = peers.read_ids(given.text)
    ngrams = Ngrams(ids[:num_train], vocab_size=len(alphabet), order=peers.NGRAM_ORDER)

    def write(temperature: float, table: WordTable | None) -> list[str]:
        rows = Rows(table, temperature, alphabet)
        contexts = [0]
        for character in PRIME:
            contexts = ngrams.contexts_after(contexts, alphabet.index(character))
        all_contexts = [contexts] * NUM_TEXTS
        for _ in range(NUM_CHARS):
            logits = np.log([ngrams.probabilities(each) for each in all_contexts])
            drawn = rows.add(logits).tolist()
            pairs = zip(all_contexts, drawn, strict=True)
            all_contexts = [ngrams.contexts_after(each, id) for each, id in pairs]
        return rows.texts

    [row] = peers.measure_ngrams(given)
    return Program(row.program, row.loss, write)


def charrnn_program(given: argparse.Namespace) -> Program:
    """Load the last step of a run."""
    last = (given.run / "latest").read_text(encoding="utf-8")
    model = charrnn.load(given.run, step=int(last.rpartition("-")[2]))
    loss = charrnn.evaluate(model, model.held_out(), protocol=WINDOWED).nats_per_char

    def write(temperature: float, table: WordTable | None) -> list[str]:
        samples = model.samples(
            NUM_TEXTS,
            length=NUM_CHARS,
            prime=PRIME,
            temperature=temperature,
            seed=0,
            known_words=table is not None,
        )
        return [sample.text for sample in samples]

    return Program("charrnn", loss, write)


PROGRAMS = {
    **dict.fromkeys(peers.NAMES, network_program),
    "ngrams": ngram_program,
    "charrnn": charrnn_program,
}


def measure(given: argparse.Namespace) -> Iterator[Measurement]:
    """Let a program learn and write; yield a row for each temperature and rule."""
    _, alphabet, num_train = peers.read_ids(given.text)
    words = Words(given.text.read_text(encoding="utf-8")[:num_train])
    vocab = Vocab("char", tuple(alphabet))
    table = WordTable.of(WordList.of(words.joined, vocab), vocab)
    program = PROGRAMS[given.program](given)
    for temperature in TEMPERATURES:
        for rule, used in (("any words", None), ("known words", table)):
            texts = program.write(temperature, used)
            counts = np.array([words.count(text) for text in texts])
            different = {word for text in texts for word in words_of(text, joins=True)[:-1]}
            yield Measurement(
                program.name,
                loss=round(program.loss, 4),
                temperature=temperature,
                rule=rule,
                num_invented=int(counts[:, 0].sum()),
                num_words=int(counts[:, 1].sum()),
                num_different=len(different),
                first=texts[0].partition("\n")[0],
            )


def table_of(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Return a row for each program: the invented words of a hundred at each temperature, and how
    many are invented of known words."""
    table: dict[str, dict[str, str]] = {}
    for row in rows:
        line = table.setdefault(row["program"], {"program": row["program"], "loss": row["loss"]})
        invented = int(row["num_invented"])
        rule = f"{row['rule']}, {row['temperature']}"
        line[rule] = f"{100 * invented / int(row['num_words']):.1f}"
        if row["rule"] == "known words":
            line[rule] = str(invented)
    return sorted(table.values(), key=lambda line: float(line["loss"]))


def main() -> None:
    """Measure one program, or print the table."""
    parser = peers.make_parser(__doc__, programs=PROGRAMS)
    parser.add_argument("--run", type=Path, help="the folder of a run of charrnn on the text")
    parser.add_argument("--steps", type=int, help="of the training of a network of torch")
    given = parser.parse_args()
    if given.program == "charrnn" and given.run is None:
        parser.error("give the run of charrnn: --run FOLDER")
    if given.program == "table":
        with given.csv.open(encoding="utf-8", newline="") as file:
            print_table(table_of(list(csv.DictReader(file))))
        return

    # A row is written when it is measured.
    for row in measure(given):
        peers.append_row(given.csv, asdict(row))
        rate = 100 * row.num_invented / row.num_words
        print(
            f"{row.program} ({row.loss}), temperature {row.temperature:g}, {row.rule}:"
            f" {row.num_invented} of {row.num_words:,} words invented ({rate:.2f} %),"
            f" {row.num_different:,} different, {row.first!r}",
            file=sys.stderr,
            flush=True,
        )


if __name__ == "__main__":
    main()
