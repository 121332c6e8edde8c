"""Define the configuration of a run: a frozen dataclass that checks every value on construction."""

import encodings
import math
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from encodings.aliases import aliases
from fractions import Fraction
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from charrnn.config.architectures import (
    CELL_DESCRIPTIONS,
    DEPTH_DESCRIPTIONS,
    OPTIMIZER_DESCRIPTIONS,
)
from charrnn.config.options import (
    RANGE,
    Range,
    at_least,
    between,
    check,
    one_of,
    option,
    refused,
    setting,
    written,
)
from charrnn.config.plan_record import PlanEntry, is_plan, parse_plan
from charrnn.errors import (
    THOUSANDS,
    UsageError,
    did_you_mean,
    named,
)
from charrnn.hooks.manager import offered_names

Auto = Literal["auto"]
"""A value that the recipe chooses."""
OneHot = Literal["one-hot"]
"""An embedding size that means no embedding: the first layer reads one-hot vectors."""

MIN_COUNT = 3
"""Number of occurrences in a long text that a character needs to be in the alphabet."""
ALPHABETS = ("char", "exact", "byte")
"""Kinds of alphabet."""
ORDERS = ("shuffled", "sorted")
"""Orders of the files of a folder or of a pattern."""
DEVICES = ("auto", "cpu", "cuda", "mps")
"""Devices to compute on."""
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
"""Precisions of training."""
DECAY_SHAPES = ("cosine", "linear")
"""How the learning rate falls from its peak to its final value."""
BUDGETS = ("minutes", "epochs", "steps")
"""Fields that determine how long to train; at most one of them is set."""
WIDTHS = ("hidden_size", "parameters")
"""Fields that determine the number of units per layer; at most one of them is set."""
DOCUMENTS = ("documents", "column")
"""Fields that define the documents."""
OMEGA_CELLS = ("rnn", "lstm")
"""Cell types to which the regulariser Ω against vanishing gradients applies."""
MEMBER_SEED_STEP = 1_000_003
"""Difference of the seeds of two networks that are trained side by side. It is so large that runs
with the seeds 0, 1, 2 do not share a network."""
SIZES = ("num_layers", "hidden_size", "embedding_size")
"""Fields that determine the size of a model."""
MAX_STEPS = 10**9
"""Maximum number of optimizer steps."""
MAX_HIDDEN_SIZE = 16_384
"""Maximum number of units per layer, and maximum size of an embedding."""
LARGEST_NUMBER = 10**100
"""Integers must be smaller: Python cannot convert much larger integers to floats."""
LONGEST_NAMES = 100_000
"""Maximum length in bytes of all names of a corpus together, with non-ASCII characters escaped as
in `config.yaml`."""
MODEL, TEXT, TRAINING = "Model", "Text", "Training"
"""Panels of the options in `charrnn train --help`."""
MODEL_FIELDS = ("alphabet", "cell_type", "depth", "sum_outputs", "initial_state", *SIZES)
"""Fields that determine the shapes of a model's weights."""
TEXT_FIELDS = (
    *DOCUMENTS,
    *("unique_documents", "encoding", "join_lines", "clean", "order", "order_seed"),
)
"""Fields that determine how a text is read."""
CHANGEABLE = (
    *BUDGETS,
    *("device", "precision", "threads", "evaluate_every", "save_every", "keep"),
)
"""Fields that a resumed run may change: how long and where it trains, and how many checkpoints it
keeps. The weights fit all other fields."""
DROPPED = ("dropout", "input_dropout", "weight_drop")
"""Settings that say which share is dropped; the last two follow from the first."""
INHERITED = (*TEXT_FIELDS, *DROPPED)
"""Settings that a run with `init_from` takes from that run, unless they are asked for."""


# Python lists these codecs as encodings, but they do not decode bytes to text, or not everywhere.
_NO_TEXT = {
    *("base64_codec", "bz2_codec", "hex_codec", "mbcs", "quopri_codec"),
    *("rot_13", "uu_codec", "zlib_codec"),
}
# These encodings are missing in Python's list of aliases.
_ENCODINGS = {
    *("utf_8_sig", "koi8_u", "koi8_t", "cp720", "cp737", "cp856", "cp874", "cp875", "cp1006"),
    *("mac_arabic", "mac_croatian", "mac_farsi", "mac_romanian"),
    *(name for names in aliases.items() if names[1] not in _NO_TEXT for name in names),
}


def _is_encoding(name: str) -> bool:
    # Python's codecs are not asked, because they would import a module of that name.
    return name.isascii() and encodings.normalize_encoding(name).lower() in _ENCODINGS


# Ranges that have more than two ends, or belong to several fields.
_CELL_NAMES = ("auto", *CELL_DESCRIPTIONS)
CELL = Range(
    f"one of {', '.join(_CELL_NAMES)}, or a cell that an installed package provides",
    # Packages are searched only for a name that is not built in: the search takes 25 ms.
    contains=lambda name: name in _CELL_NAMES or name in offered_names("cell_types"),
    choices=_CELL_NAMES,
)
ENCODING = Range(
    "a text encoding that Python knows, such as utf-8, latin-1, cp1252 or utf-16",
    contains=_is_encoding,
    choices=tuple(name.replace("_", "-") for name in sorted(_ENCODINGS)),
)
CORPUS = Range(
    f"shorter than {LONGEST_NAMES:,} bytes in all: name the files' folder, or put their pattern in"
    " quotes",
    contains=lambda names: (
        sum(len(name.encode("unicode_escape")) + 5 for name in names) < LONGEST_NAMES
    ),
)
PARTED_BY = "line:"
"""What stands before the text of the lines that part documents."""
_DOCUMENT_WORDS = ("none", "files", "lines", "blank-lines", "column")
DOCUMENT_KIND = Range(
    f"one of {', '.join(_DOCUMENT_WORDS)}, {PARTED_BY}TEXT",
    contains=lambda kind: kind in _DOCUMENT_WORDS or kind.startswith(PARTED_BY),
    choices=_DOCUMENT_WORDS,
)
SHARES = Range(
    "two or three positive shares, such as 90/10",
    contains=lambda shares: (
        len(shares) in (2, 3) and all(1e-30 <= share <= 1e30 for share in shares)
    ),
)
NAME = Range("a name of up to 1,000 characters", contains=lambda name: 0 < len(name) <= 1000)
SEED = Range("between 0 and 2^32 - 1", contains=lambda seed: 0 <= seed < 2**32)
BUDGET = Range("more than 0 and at most 100000", contains=lambda budget: 0 < budget <= 1e5)
PLAN = Range(
    "a list of STEP:STEPS:THREADS, each of a later step, of which the first is 0",
    contains=is_plan,
)
PROBABILITY = Range("at least 0 and below 1", contains=lambda share: 0 <= share < 1)
FACTOR = between(0, 1000)
"""The range of a factor by which a step is multiplied: far above what any training bears."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """All settings of a run: enough to build the model and train it again. `training.plan`
    replaces `auto`.

    Whoever trains from Python makes one and gives it to `train`. Every field may be left out: what
    is `auto` is chosen from the text and the budget. `Model.config` has the settings with which a
    model was trained, and `dataclasses.replace` makes of them those of the next training.

    Raises UsageError, which names the field, its value and the allowed range.

    Example:
        >>> config = charrnn.Config(corpus="shakespeare.txt", cell_type="gru", minutes=3)
        >>> for event in charrnn.train(config): ...
    """

    corpus: str | Sequence[str] = setting((), allowed=CORPUS)
    """Files, folders, globs, `.gz`, `-` or catalogue names; empty: the standard library's own
    source."""
    alphabet: str = option(
        "char",
        flags="--alphabet KIND",
        help="char, exact (with rare characters), byte.",
        allowed=one_of(*ALPHABETS),
    )
    """`char` (characters; rare ones become one unknown symbol), `exact` (exactly the characters
    that occur, without an unknown symbol) or `byte` (the file's bytes as they are)."""
    encoding: str = option(
        "utf-8",
        flags="--encoding NAME",
        help="Its encoding: utf-8, latin-1, utf-16, …",
        panel=TEXT,
        allowed=ENCODING,
    )
    """Encoding of the files: utf-8, latin-1, cp1252, utf-16, … (not for `byte`)."""
    join_lines: bool = option(
        False,
        flags="--join-lines",
        help="Join the lines of each paragraph; verse stays as it is.",
        panel=TEXT,
    )
    """Whether the lines of wrapped paragraphs are joined (not for `byte`). Blank and indented lines
    part paragraphs; verse stays as it is."""
    clean: bool = True
    """Whether each file is read as what its author wrote (not for `byte`): documents of a word
    processor, e-books, web pages and notebooks by pandoc; without the terms of Project Gutenberg,
    the stamps of chats and subtitles, a head of settings, and characters that nobody sees; with
    each letter and its accents as one character (NFC), also of what is typed. false: as it stands.
    Runs that do not record it were trained with false."""
    order: str = setting("shuffled", allowed=one_of(*ORDERS))
    """Order of the files of a folder or a pattern: shuffled, so that every part has files from
    everywhere, or sorted by path."""
    order_seed: int = setting(0, allowed=SEED)
    """Seed of that shuffle. It is not `seed`, so that runs with other weights hold out the same
    files."""
    min_count: int = setting(MIN_COUNT, allowed=at_least(1))
    """Characters that occur fewer times than this become the unknown symbol. Of a text of less than
    10,000 characters every character is kept, and of one of less than 20,000 every character that
    occurs twice; the alphabet `exact` keeps all."""
    split: tuple[float, ...] = option(
        (0.9, 0.1),
        flags="--split A/B[/C]",
        help="Shares: 80/10/10 has a test part.",
        panel=TEXT,
        shown_default="90/10",
        allowed=SHARES,
    )
    """Shares of the text, from its start: training, validation and, if a third is given, test."""
    documents: str = option(
        "none",
        flags="--documents KIND",
        help="lines, files, blank-lines or line:TEXT.",
        panel=TEXT,
        allowed=DOCUMENT_KIND,
    )
    """Short texts that each end in an END symbol: files, lines, blank-lines (what stands between
    blank lines), line:TEXT (what stands between two lines TEXT) or column (the values of `column`);
    the state is reset between them, so `reset_probability` has no effect."""
    column: str | None = option(
        None,
        flags="--column NAME",
        help="Learn one column of a table, or a field a.b of JSON.",
        panel=TEXT,
        allowed=NAME,
    )
    """Column of tables whose values are the documents: a name in the header, or a number from 1; of
    JSON, a field of each object, where `a.b` is the field `b` of what stands in `a`."""
    unique_documents: bool = False
    """Whether documents that repeat an earlier one of the text are left out."""

    cell_type: str = option(
        "auto",
        flags="--type TYPE",
        help="Cell type, see below.",
        allowed=CELL,
    )
    """The cell type: one of charrnn, or one that an installed package provides.
    """
    depth: str = setting("stacked", allowed=one_of(*DEPTH_DESCRIPTIONS))
    """How the layers are connected."""
    sum_outputs: bool = False
    """Whether the output layer reads the sum of all layers instead of the last one."""
    num_layers: int | Auto = option(
        "auto", flags="--layers L", help="Number of recurrent layers.", allowed=between(1, 64)
    )
    """Number of recurrent layers."""
    hidden_size: int | Auto = option(
        "auto",
        flags="--hidden-size H",
        help="Units per layer.",
        allowed=between(1, MAX_HIDDEN_SIZE),
    )
    """Units per layer."""
    parameters: int | None = option(
        None,
        flags="--parameters N",
        help="The most units that N weights allow, such as 1.5M.",
        panel=MODEL,
        allowed=Range("between 1 and 10^12", contains=lambda weights: 1 <= weights <= 10**12),
    )
    """Number of weights: `hidden_size` becomes the largest with which the model has at most so
    many. Runs record that size, and null here."""
    embedding_size: int | Auto | OneHot = setting("auto", allowed=between(1, MAX_HIDDEN_SIZE))
    """Size of a character's embedding vector; one-hot: no embedding, the first layer reads one-hot
    vectors."""
    num_members: int | Auto = setting("auto", allowed=between(1, 64))
    """Networks that are trained side by side and predict together, each of an equal share of the
    units and of the embedding. They are saved as one network, whose weights are block diagonal."""
    dropout: float | Auto = setting("auto", allowed=PROBABILITY)
    """Share of units dropped at the output of every layer, the same units for a whole window (Gal
    2016)."""
    input_dropout: float | Auto = setting("auto", allowed=PROBABILITY)
    """Share of the entries of a character's embedding dropped, the same entries for a whole window
    (Gal 2016)."""
    weight_drop: float | Auto = setting("auto", allowed=PROBABILITY)
    """Share of the recurrent weights dropped, the same ones for a whole window (Merity 2018)."""
    zoneout: float = setting(0.0, allowed=PROBABILITY)
    """Probability that a unit keeps its state for one character (Krueger 2017)."""
    omega: float = setting(0.0, allowed=between(0, 10**6))
    """Weight λ of the regulariser Ω against vanishing and exploding gradients of an rnn or lstm,
    which is added to the loss (Pascanu 2013); 0: none."""
    initial_state: str = setting("zero", allowed=one_of("zero", "learned"))
    """Initial state of a text: zero, or learned with the weights."""
    init_from: str | None = option(
        None,
        flags="--init-from RUN",
        help="Fine-tune a trained model: a run, prose, code or a .zip.",
        panel=MODEL,
    )
    """A run (its folder, or its name under checkpoints/): training starts with its best weights and
    its alphabet."""
    extend_alphabet: bool = True
    """Whether the characters of the text that the run of `init_from` does not know, and the end of
    documents, are added to its alphabet."""
    forget_bias: float = setting(
        1.0, allowed=Range("between -10^38 and 10^38", contains=lambda bias: -1e38 <= bias <= 1e38)
    )
    """Initial bias of a cell's forget gate (Gers 2000; Jozefowicz 2015)."""
    initial_weights: str = setting("orthogonal", allowed=one_of("orthogonal", "uniform"))
    """Initial weights of the recurrent layers: orthogonal recurrent ones (Saxe 2014) and input
    weights by their sizes (Glorot & Bengio 2010); or all uniform within ±1/√hidden_size, as in
    torch.nn, which draws the biases, too."""

    learned_after: str | None = setting(None, allowed=NAME)
    """Characters after which the next one is learned, such as the ? before an answer; what follows
    others is only read. With --set, \\n is a newline, \\t a tab and \\\\ a backslash. null: all are
    learned. The training loss of a step without such a character is 0. The validation loss, by
    which the best step is chosen, is that of these characters, too."""
    minutes: float | None = option(
        None,
        flags="--minutes M",
        help="Train for about M minutes.",
        allowed=BUDGET,
        shown_default="3",
    )
    """Budget in minutes; converted to a number of steps after a few seconds of measuring."""
    epochs: float | None = option(
        None,
        flags="--epochs E",
        help="Train for E passes over the text.",
        panel=TRAINING,
        allowed=BUDGET,
    )
    """Budget in passes over the training text."""
    steps: int | None = option(
        None,
        flags="--steps N",
        help="Train for N optimizer steps.",
        panel=TRAINING,
        allowed=Range("between 1 and 10^9", contains=lambda steps: 1 <= steps <= MAX_STEPS),
    )
    """Budget in optimizer steps."""
    plan: tuple[str, ...] | None = setting(None, allowed=PLAN)
    """What a run records whose budget in minutes was planned more than once: from which step on it
    had how many steps, and how many threads, as STEP:STEPS:THREADS. The last number of steps is
    that of `steps`. null: one plan for the whole run."""
    batch_size: int | Auto = setting("auto", allowed=between(1, 65536))
    """B: segments of the text that are read in parallel, one per batch row."""
    bptt_length: int | Auto = setting("auto", allowed=between(1, 65536))
    """T: characters per batch row and step, over which back-propagation runs."""
    reset_probability: float = setting(0.05, allowed=between(0, 1))
    """Probability per batch row and step that the state is reset to the initial one, to learn the
    start of a text."""
    learning_rate: float | Auto = setting(
        "auto", allowed=Range("more than 0 and at most 10", contains=lambda rate: 0 < rate <= 10)
    )
    """Peak learning rate, after the warm-up."""
    final_learning_rate: float = setting(0.02, allowed=between(0, 1))
    """Learning rate at the end of the run, as a share of the peak."""
    decay_share: float | Auto = setting(
        "auto", allowed=Range("more than 0 and at most 1", contains=lambda share: 0 < share <= 1)
    )
    """Share of the steps after the warm-up in which the learning rate falls: 0.7 keeps it at its
    peak for the first 30 % of them."""
    decay_shape: str = setting("auto", allowed=one_of("auto", *DECAY_SHAPES))
    """How the learning rate falls: by half a cosine (Loshchilov & Hutter 2017), or linear, in a
    straight line."""
    warmup_steps: int = setting(50, allowed=at_least(0))
    """Steps of linear warm-up (at most a tenth of all steps)."""
    optimizer: str = setting("muon", allowed=one_of(*OPTIMIZER_DESCRIPTIONS))
    """muon (Muon for the matrices of the recurrent layers, AdamW for all else), adamw, rmsprop or
    sgd."""
    muon_scale: float = setting(2.0, allowed=FACTOR)
    """Learning rate of Muon as a multiple of AdamW's."""
    output_scale: float = setting(3.0, allowed=FACTOR)
    """Learning rate of the output layer's weights as a multiple of AdamW's, beside Muon."""
    beta1: float = setting(0.9, allowed=PROBABILITY)
    """Decay of the gradients' running mean: AdamW's β1, the momentum of sgd."""
    beta2: float = setting(0.99, allowed=PROBABILITY)
    """Decay of the squared gradients' running mean: AdamW's β2, that of rmsprop."""
    weight_decay: float | Auto = setting("auto", allowed=FACTOR)
    """Weight decay, on weight matrices only."""
    clip_norm: float = setting(1.0, allowed=Range("more than 0", contains=lambda norm: norm > 0))
    """Largest global gradient norm (Pascanu 2013)."""
    weight_average: float = setting(0.99, allowed=PROBABILITY)
    """Decay per step of the averaged weights, which are evaluated, sampled and saved; 0: no
    averaging."""

    seed: int = option(
        0,
        flags="--seed N",
        help="The same seed trains the same weights.",
        panel=TRAINING,
        allowed=SEED,
    )
    """Seed of the initial weights, the dropout and the samples."""
    device: str = option(
        "auto",
        flags="--device DEVICE",
        help="auto, cpu, cuda or mps.",
        panel=TRAINING,
        allowed=one_of(*DEVICES),
    )
    """auto, cpu, cuda or mps."""
    precision: str = setting("auto", allowed=one_of(*PRECISIONS))
    """fp32, bf16 or fp16 (autocast); auto: bf16 from 128 units on if the processor is faster in it
    (AMD's with AVX512-BF16, Intel's with AMX)."""
    threads: int | Auto = setting("auto", allowed=between(1, 1024))
    """Processor threads; auto: one per 32 units, at most all; for a budget in minutes the number
    that measures fastest (fewer if other processes use the cores)."""
    evaluate_every: int | Auto = setting("auto", allowed=at_least(1))
    """Steps between two validations."""
    validation_chars: int | Auto | None = setting("auto", allowed=at_least(1))
    """Characters of the validation text that each validation reads, in segments spread evenly over
    it; null: all."""
    save_every: int | Auto = setting("auto", allowed=at_least(1))
    """Steps between two checkpoints."""
    keep: int = setting(2, allowed=at_least(0))
    """Number of checkpoints to keep besides `best` and `latest`."""

    def __post_init__(self) -> None:
        # Values are converted here, so that no configuration has a string in a field for numbers.
        for name in FIELD_NAMES:
            object.__setattr__(self, name, parse_value(name, getattr(self, name)))

        # Check which fields exclude each other. A column needs no other setting of the documents.
        if self.column is not None and self.documents == "none":
            object.__setattr__(self, "documents", "column")
        self._check_text()
        self._check_layers()
        self._check_sizes()
        self._check_plan()
        # Two budgets may contradict each other, and neither has priority.
        if sum(getattr(self, name) is not None for name in BUDGETS) > 1:
            raise UsageError(
                f"Give one budget only: {named('minutes')}, {named('epochs')} or {named('steps')}."
            )

    def _check_text(self) -> None:
        """Raise UsageError for fields of the text that exclude each other."""
        # The byte alphabet decodes nothing, so the encoding would have no effect.
        if self.alphabet == "byte" and self.encoding != "utf-8":
            raise self._refused(
                "encoding", remedy="the byte alphabet takes bytes as they are. Leave one out."
            )

        if self.join_lines and self.alphabet == "byte":
            raise self._refused(
                "join_lines", remedy="the byte alphabet takes bytes as they are. Leave one out."
            )
        if self.join_lines and self.documents in ("lines", "column"):
            raise self._refused(
                "join_lines",
                remedy=f"{named('documents', self.documents)} has no paragraphs. Leave one out.",
            )

        # The documents "column" and a column need each other.
        if self.documents == "column" and self.column is None:
            raise self._refused("documents", remedy=f"give {named('column')} with the name of one.")
        if self.documents != "column" and self.column is not None:
            conflicting = named("documents", self.documents)
            raise self._refused(
                "column", remedy=f"its values are the documents: leave {conflicting} out."
            )

    def _check_layers(self) -> None:
        """Raise UsageError for settings that some cells and depths do not support."""
        if self.weight_drop not in (0, "auto") and self.cell_type == "irnn":
            without_bound = (
                "it scales up the remaining weights, and the state of an irnn would grow without"
                " bound."
            )
            remedy = f"{without_bound} Use {named('dropout')} or {named('zoneout')}."
            raise self._refused("weight_drop", remedy)
        if self.omega > 0:
            self._check_omega()

        # The dilated layer l keeps 2^l states.
        if self.depth == "dilated" and self.num_layers != "auto" and self.num_layers > 12:
            raise self._refused(
                "num_layers", remedy="dilated layers may be at most 12 (2^11 characters back)."
            )

    def _check_omega(self) -> None:
        """Raise UsageError for settings that exclude Pascanu's regulariser."""
        # An `auto` cell becomes an LSTM.
        cell = "lstm" if self.cell_type == "auto" else self.cell_type
        if cell not in OMEGA_CELLS:
            raise self._refused(
                "omega",
                remedy=f"it needs {named('cell_type', 'rnn')} or {named('cell_type', 'lstm')}.",
            )
        if self.zoneout > 0 or self.weight_drop not in (0, "auto"):
            raise self._refused(
                "omega", remedy=f"leave {named('zoneout')} and {named('weight_drop')} out."
            )
        if self.num_members not in (1, "auto"):
            raise self._refused("omega", remedy=f"it needs {named('num_members', 1)}.")

    def _check_sizes(self) -> None:
        """Raise UsageError for sizes that exclude each other."""
        # A network that starts from a run, or is fitted to a number of weights, is trained alone.
        if self.num_networks > 1 and self.init_from is not None:
            alone = f"with {named('init_from')} a single network is trained"
            raise self._refused("num_members", remedy=f"{alone}: use 1, or leave one of them out.")
        if self.num_networks > 1 and self.parameters is not None:
            alone = f"{named('parameters')} fits a single network"
            raise self._refused(
                "num_members", remedy=f"{alone}: give {named('hidden_size')} instead."
            )
        if self.parameters is not None and self.hidden_size != "auto":
            follows = f"it follows from {named('parameters')}"
            raise self._refused("hidden_size", remedy=f"{follows}: leave one of them out.")

    def _check_plan(self) -> None:
        """Raise UsageError for steps and threads that are not those with which the plan ends."""
        if self.plan is None:
            return
        last = self.plan_entries[-1]
        for name, planned in (("steps", last.num_steps), ("threads", last.threads)):
            if getattr(self, name) not in (planned, "auto"):
                other = f"{named(name)} is {written(getattr(self, name))}"
                raise self._refused(
                    "plan",
                    remedy=f"it ends with {named(name, planned)}, and {other}. Leave that out, or"
                    f" use {named('plan', 'null')}.",
                )

    def _refused(self, name: str, remedy: str) -> UsageError:
        """Return the error of a field whose value excludes another setting."""
        return UsageError(f"{named(name)} is {written(getattr(self, name))}; {remedy}")

    @property
    def composes(self) -> bool:
        """Whether a letter and its accents are read as one character.

        A text that is compared with one of the run must be composed if the run's text was.
        """
        return self.clean and self.alphabet != "byte"

    @property
    def parting_line(self) -> str | None:
        """The text of the lines that part the documents, without blanks at its ends; None where
        other things part them."""
        if not self.documents.startswith(PARTED_BY):
            return None
        return self.documents.removeprefix(PARTED_BY).strip()

    @property
    def num_networks(self) -> int:
        """`num_members` as a number: 1 for `auto`.

        It counts the networks before and after the recipe has replaced `auto`.
        """
        if self.num_members == "auto":
            return 1
        return self.num_members

    @property
    def plan_entries(self) -> tuple[PlanEntry, ...]:
        """The plans of a run whose steps are known, the first one first; one entry if it was
        planned once.

        Code that asks how a step was taken reads it, such as on how many threads: `steps` and
        `threads` are those of the last plan alone.
        """
        if self.plan is not None:
            return parse_plan(self.plan)
        # The number of threads may not be chosen yet.
        threads = 1
        if self.threads != "auto":
            threads = self.threads
        return (PlanEntry(step=0, num_steps=self.steps or 1, threads=threads),)

    @property
    def chars_per_step(self) -> int:
        """The characters that a training step reads, of a resolved configuration.

        It turns steps into characters read, and an epoch into steps.
        """
        return resolved(self.batch_size) * resolved(self.bptt_length)

    @property
    def end_id(self) -> int | None:
        """The id of END: the first character of an alphabet, byte 0 of the byte alphabet; None
        without documents.

        Code that reads ids asks it whether there are documents, and where each of them ends.
        """
        if self.documents == "none":
            return None
        # Only this alphabet has an unknown symbol, which is id 0.
        if self.alphabet == "char":
            return 1
        return 0


def resolved(value: int | Auto | OneHot) -> int:
    """Return a size, which must be a number: `auto` or `one-hot` is a bug.

    Whoever computes with a size of a trained model calls it, for the type checker and for a clear
    failure.
    """
    # `training.plan` has replaced all words by numbers.
    assert not isinstance(value, str), f"the configuration contains {value!r}"
    return value


def threads_at(step: int, config: Config) -> int:
    """Return the number of threads on which the next step is computed after `step` steps, of a
    resolved configuration."""
    threads = 1
    for entry in config.plan_entries:
        if entry.step <= step:
            threads = entry.threads
    return threads


def config_of_member(config: Config, index: int = 0) -> Config:
    """Return the configuration of network `index` of `num_members` networks, each with an equal
    share of `config.hidden_size`.

    Weights of an ensemble are built and counted network by network.
    """
    # A one-hot vector always has the size of the alphabet.
    members = config.num_networks
    embedding_size = config.embedding_size
    if embedding_size != "one-hot":
        embedding_size = resolved(embedding_size) // members
    return replace(
        config,
        num_members=1,
        hidden_size=resolved(config.hidden_size) // members,
        embedding_size=embedding_size,
        seed=(config.seed + index * MEMBER_SEED_STEP) % 2**32,
    )


# The types, ranges and names of the fields above.
_TYPES: dict[str, Any] = get_type_hints(Config)
AUTO_FIELDS = tuple(name for name, hint in _TYPES.items() if Auto in get_args(hint))
"""Fields that may be `auto` until a run starts."""
_RANGES: dict[str, Range | None] = {
    field.name: field.metadata.get(RANGE) for field in fields(Config)
}
FIELD_NAMES = tuple(_RANGES)
"""Every setting, in the order of `Config`."""


def _kinds_of(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, in order; any other type as the only member."""
    members: tuple[Any, ...] = (hint,)
    if get_origin(hint) in (Union, UnionType):
        members = get_args(hint)

    # `tuple[str, ...]` becomes `tuple`. The types of words have arguments, too, but stay the same.
    kinds = tuple(kind if kind in (Auto, OneHot) else get_origin(kind) or kind for kind in members)
    # A list may be given as a string, and is a list all the same.
    if Sequence in kinds:
        return (Sequence,)
    return kinds


_KINDS: dict[str, tuple[Any, ...]] = {name: _kinds_of(hint) for name, hint in _TYPES.items()}


def _wanted(name: str) -> str:
    """Return a description of the type of a field, for a message about a value of another type."""
    # The range of `split` is a more helpful description than a list of numbers.
    if name == "split":
        return SHARES.words
    return " or ".join(KIND_NAMES[kind] for kind in _KINDS[name])


def check_field_name(name: str) -> str:
    """Return `name`; raise UsageError with the most similar one if no field has that name.

    A setting that is misspelled in a file or on the command line must not be ignored.
    """
    if name in FIELD_NAMES:
        return name
    # The message suggests a similar name, or lists all names if none is similar.
    name = name[:60]
    hint = did_you_mean(name, FIELD_NAMES) or f" The fields are {', '.join(FIELD_NAMES)}."
    raise UsageError(f"There is no configuration field {name!r}.{hint}")


def parse_value(name: str, value: object) -> Any:
    """Convert a value from YAML, the environment or a flag to the type of field `name`, and check
    its range.

    `Config` itself takes values of their types only; this is for what somebody has typed. Accepts
    strings for numbers (`1e-3` is a string in YAML 1.1), `300k` and `1.5M` for integers, `90/10` or
    a list for tuples. Raises UsageError, which names the field and the value.
    """
    kinds = _KINDS[check_field_name(name)]
    # A value from a comma-separated list may have white space; here it is a character.
    if isinstance(value, str) and name != "learned_after":
        value = value.strip()

    if value == "":  # of an unset variable of a shell
        raise UsageError(f"{named(name)} is empty: give a value, or leave it out.")

    # First the words that the field accepts.
    if NoneType in kinds and value in (None, "null", "none"):
        return None
    for word in (Auto, OneHot):
        if word in kinds and value in get_args(word):
            return value

    # All other values; every error of conversion has the same message.
    try:
        converted = _converted(name, value)
    except (ValueError, OverflowError, TypeError, KeyError):
        words = _wanted(name) + limit_of(value) + _EXAMPLES.get(name, "")
        raise refused(name, value=value, wanted=words) from None
    allowed = _RANGES[name]
    if allowed is not None:
        check(name, converted, allowed=allowed)
    return converted


def _converted(name: str, value: Any) -> Any:
    """Convert a value that is no word. Raises ValueError, OverflowError, TypeError or KeyError if
    it does not fit the type of the field."""
    kinds = _KINDS[name]
    if bool in kinds:
        if isinstance(value, bool):
            return value
        return _WORDS[str(value).lower()]

    # True is a number in Python, but not here.
    if int in kinds or float in kinds:
        if isinstance(value, bool):
            raise ValueError
        return whole_number(value) if int in kinds else float(value)
    if str in kinds:
        return _checked(value, str)

    # The other fields are lists: the plan, the shares of the split, or the files of the corpus.
    if name == "plan":
        if isinstance(value, str):
            value = value.split(",")
        return tuple(_checked(entry, str).strip() for entry in _checked(value, list, tuple))
    if name == "split":
        if isinstance(value, str):
            value = value.replace(",", "/").split("/")
        return tuple(float(_checked(share, str, int, float)) for share in value)

    # In the environment, names are separated like the folders in PATH. The name of a file may have
    # that sign in it, too.
    names = value
    if isinstance(value, str) and not os.path.exists(value):
        names = [part for part in value.split(os.pathsep) if part]
    elif isinstance(value, str | os.PathLike):
        names = [value]
    names = _checked(names, list, tuple)
    return tuple(os.fspath(_checked(name, str, os.PathLike)) for name in names)


def _checked(value: Any, *kinds: type) -> Any:
    """Return `value` if it has one of these types, else raise ValueError. A bool never counts as a
    number."""
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise ValueError
    return value


def whole_number(value: Any) -> int:
    """Parse an integer such as 300000, 300k or 3e5, below LARGEST_NUMBER. Raises ValueError for any
    other value.

    It is for what somebody types; `parse_value` calls it for the settings that are numbers.
    """
    number = _integer_of(value)
    if abs(number) >= LARGEST_NUMBER:
        raise ValueError
    return number


def limit_of(value: object) -> str:
    """Return the end of a message about a value that is no whole number: " below 10^100" for a
    number that is too large, also for a float; "" for any other value.

    It is appended where `whole_number` has failed.
    """
    with suppress(ValueError, TypeError, OverflowError):
        if float(value) >= LARGEST_NUMBER:  # type: ignore[arg-type]
            return " below 10^100"
    return ""


def _integer_of(value: Any) -> int:
    """Parse an integer of any size. Raises ValueError for any other value."""
    # 1.000 is a thousand to some, and one to others.
    if isinstance(value, str) and THOUSANDS.fullmatch(value):
        raise ValueError
    try:
        return int(str(value))
    except ValueError:
        # Fractions are exact: in floats, 2.3 * 10^6 is not an integer.
        suffixed = _SUFFIXED.fullmatch(str(value))
        if suffixed is not None:
            number = Fraction(suffixed[1]) * _SUFFIXES[suffixed[2]]
        else:
            number = Fraction(_finite_number(value))
        if number.denominator != 1:
            raise
        return int(number)


def _finite_number(value: Any) -> float:
    """Parse a number. Raises ValueError for one that is not finite, as 1e999 is in floats."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


_SUFFIXES = {"k": 10**3, "M": 10**6}
_SUFFIXED = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kM])")
_EXAMPLES = {"parameters": ", such as 300000, 300k or 1.5M"}
_WORDS = {"true": True, "false": False}
KIND_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a word",
    bool: "true or false",
    NoneType: "null",
    tuple: "a list",
    Sequence: "a list of words",
    Auto: "auto",
    OneHot: "one-hot",
}
"""What messages call the types of values."""
