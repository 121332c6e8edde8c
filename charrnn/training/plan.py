"""Decide everything before the first step: the text and its parts, the model, the steps, the
threads.

Precision and threads follow from the shape of the model; for a budget in minutes, steps are
measured. What a command with a number of steps or epochs chooses does not depend on how busy the
machine is.
"""

import math
import time
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from charrnn.config.settings import MAX_STEPS, MODEL_FIELDS, Config, resolved
from charrnn.errors import CheckpointError, DataError, Message, UsageError, counted, named
from charrnn.model.device import chosen_precision, has_fast_bf16, on_threads
from charrnn.model.shapes import (
    check_memory,
    check_multiple,
    check_shapes,
    fit_parameters,
    num_parameters,
)
from charrnn.runs.checkpoint import Checkpoint
from charrnn.runs.reader import open_run_to_read
from charrnn.system.progress import task, tell
from charrnn.text.batches import BatchRows
from charrnn.text.corpus import Corpus, read_corpus
from charrnn.text.documents import Documents, document_ends, split_text
from charrnn.text.recorded_corpus import RecordedCorpus
from charrnn.text.sources import Order
from charrnn.text.vocab import MAX_CHARACTERS, IdArray, Vocab
from charrnn.training import recipe
from charrnn.training.process_group import Computing
from charrnn.training.recipe import CPU_RATE, OPERATIONS_PER_WEIGHT, num_recurrent_weights
from charrnn.training.trainer import Trainer

BF16_UNITS = 128
"""Units from which on a CPU computes in bf16: products of fewer gain less than converting numbers
costs (benchmarks/LOG.md)."""
UNITS_PER_THREAD = 32
"""Units for which a second thread is no faster, because threads wait for each other
(benchmarks/LOG.md)."""
MIN_SPEEDUP = 1.1
"""How many times faster fewer threads must be to be chosen, because short measurements are noisy.
"""
GPU_RATE = 5e12
"""Assumed operations per second of training on a device other than the CPU: not measured."""
FP32_SHARE = 0.3
"""Assumed rate of fp32 as a share of that of bf16 on the CPU."""
TRIAL_RATE = 1e-9
"""Learning rate of trial steps: too small for the weights to diverge."""


def assumed_rate(config: Config, device: torch.device, num_processes: int = 1) -> float:
    """Return the operations per second that are assumed of all processes together, to choose the
    model's size.

    They are not measured, so that the same command chooses the same size however busy the machine
    is.
    """
    if device.type != "cpu":
        return GPU_RATE * math.sqrt(num_processes)
    is_fp32 = config.precision == "fp32" or not has_fast_bf16(device)
    return (
        CPU_RATE * math.sqrt(_most_threads(config) * num_processes) * (FP32_SHARE if is_fp32 else 1)
    )


def _most_threads(config: Config) -> int:
    return torch.get_num_threads() if config.threads == "auto" else config.threads


def choose_precision(config: Config, device: torch.device) -> str:
    """Return the configuration's precision; for `auto` bf16 or fp32.

    bf16 if the device has instructions for it and is no CPU, or the layers have at least BF16_UNITS
    units. Raises UsageError for one that the device cannot compute in.
    """
    if config.precision != "auto":
        return chosen_precision(device, config.precision)
    is_large = device.type != "cpu" or recipe.units_of_network(config) >= BF16_UNITS
    return "bf16" if is_large and has_fast_bf16(device) else "fp32"


def choose_threads(config: Config) -> int:
    """Return the configuration's threads; for `auto` one per UNITS_PER_THREAD units of a layer, at
    most all."""
    if config.threads != "auto":
        return config.threads
    return max(1, min(torch.get_num_threads(), recipe.units_of_network(config) // UNITS_PER_THREAD))


def measure_step(
    config: Config, batches: BatchRows, vocab_size: int, computing: Computing, seconds: float
) -> tuple[float, int]:
    """Measure for about `seconds`: return the seconds of one step and the number of threads to take
    it on.

    If the threads are `auto`, all, all but one and one are tried: if another process keeps a core
    busy, all threads wait at every operation for the one that shares its core. Several processes
    measure together, so that the exchange of gradients counts, on all threads that each has.

    The seconds are the lower quartile of those on the chosen threads, not the median. Otherwise
    another process that is busy while this measures would cost the whole run its steps.
    """
    device, group, _ = computing
    # A step takes the same time with any dropout, weight decay and learning rate, and 8 % longer if
    # weights are dropped (1x512): those of an irnn are not, nor where the text is not read often,
    # as far as the assumed rate tells.
    num_read = recipe.chars_of_minutes(config, assumed_rate(config, device, group.size))
    drops_weights = num_read >= recipe.DROPOUT_EPOCHS * len(batches.ids) and config.cell != "irnn"
    dropped = recipe.DROPPED if drops_weights else recipe.DROPPED[:2]
    changes: dict[str, Any] = {name: 0.1 for name in dropped if getattr(config, name) == "auto"}
    changes |= {"minutes": None, "steps": 10**6, "learning_rate": TRIAL_RATE, "weight_decay": 0.1}
    with on_threads(
        1
    ):  # Drawing weights is no faster on several, and much slower if other processes use the cores.
        trainer = Trainer(replace(config, **changes), batches, vocab_size, device, group)
    most = _most_threads(config)
    times: dict[int, list[float]] = {most: []}
    if config.threads == "auto" and device.type == "cpu" and group.size == 1:
        operations = OPERATIONS_PER_WEIGHT * num_recurrent_weights(config)
        operations *= batches.batch_size * resolved(config.bptt_length)
        alone = operations / assumed_rate(replace(config, threads=1), device)
        # Fewer threads are not tried for a model that is too large for them.
        longest = min(seconds, MEASURE_SECONDS)
        times |= {
            count: [] for count in (most - 1, 1) if 1 <= count < most and alone / count <= longest
        }
    with task("measuring", unit="steps") as advance:
        with on_threads(
            min(times)
        ):  # On several, a step takes any time while other processes use the cores.
            for _ in range(2):  # The first one chooses its kernels.
                trainer.take_step()
                advance()
        begin, is_over = time.perf_counter(), False
        while not is_over:
            for num_threads, taken in times.items():
                with on_threads(num_threads):
                    step_begin = time.perf_counter()
                    trainer.take_step()
                    taken.append(time.perf_counter() - step_begin)
                advance()
            # Up to twice as long, for three steps on each number of threads.
            least = seconds if len(times[most]) >= 3 else 2 * seconds
            is_over = group.any(time.perf_counter() - begin >= least)[0]
    chosen = min(times, key=lambda num_threads: np.median(times[num_threads]))
    if np.median(times[chosen]) * MIN_SPEEDUP >= np.median(times[most]):
        chosen = most
    return float(np.quantile(times[chosen], 0.25)), chosen


MEASURE_SECONDS = 2.5
"""Time for which steps are measured, at most twice as long, to plan the steps of a budget of 1.4 to
8.3 minutes."""
FEW_STEPS = 100
"""Fewer steps that fit into a budget in minutes are noted: a network has learned little more than
frequent words."""
MEASURE_SHARE = 0.03
"""Largest share of such a budget that is spent on measuring."""
LONG_MEASURE_SHARE, MAX_MEASURE_SECONDS = 0.005, 30.0
"""Share of a long budget, and the most: large networks are slower in the first 5 to 10 seconds
(benchmarks/LOG.md)."""
MIN_MEASURE_SECONDS = 0.25
"""Shortest time for which steps are measured, however small the budget."""
MAX_UNKNOWN_SHARE = 0.1
"""Largest share of unknown characters in a text: they are all one symbol, which is easy to predict.
"""
LISTED_CHARACTERS = 12
"""Characters that the note on an extended alphabet lists at most."""


@dataclass(frozen=True, slots=True)
class Text:
    """The corpus as ids, divided into a training, a validation and perhaps a test part."""

    corpus: Corpus
    num_train: int
    """Characters of the training part, which comes first."""
    num_before_test: int
    """Characters of the training and the validation part together."""

    @property
    def vocab(self) -> Vocab:
        """The alphabet."""
        return self.corpus.vocab

    @property
    def ids(self) -> IdArray:
        """The whole text (N,), which may be mapped from a file."""
        return self.corpus.ids

    @property
    def facts(self) -> dict[str, Any]:
        """The fields of a `StartEvent` about the text."""
        return {
            "corpus": ", ".join(self.corpus.sources),
            "num_chars": len(self.ids),
            "num_train_chars": self.num_train,
            "num_distinct_chars": len(self.corpus.counted.code_points),
            "vocab_size": len(self.vocab),
        }


def plan_run(config: Config, text: Text, computing: Computing) -> tuple[Config, BatchRows]:
    """Choose every setting that is left open, and the batch rows.

    Several processes get the choices of the first one. Raises UsageError for a model that cannot be
    trained here.
    """
    device, group, _ = computing
    with group.together():
        rate = assumed_rate(config, device, group.size)
        sized = recipe.choose_sizes(with_fitting_size(config, text), text.num_train, rate)
        sized = replace(sized, ngram_rows=recipe.choose_ngram_rows(sized, len(text.vocab)))
        asked_sizes = {config.hidden_size, config.embedding_size, config.parameters} - {
            "auto",
            "one-hot",
            None,
        }
        if (
            asked_sizes or config.init_from is not None
        ):  # They are those of the model, not of each of several networks.
            sized = replace(sized, num_members=sized.num_networks)
        check_multiple(sized)
        check_memory(sized, len(text.vocab))
        batches = BatchRows(text.ids[: text.num_train], resolved(sized.batch_size))
        group.rows(batches.batch_size)
        # It is recorded, so that the run continues, and can be repeated, in the precision it
        # started with.
        sized = replace(sized, precision=choose_precision(sized, device))
    return (
        plan_steps(group.share_config(sized), text, batches, computing, may_end_early=True),
        batches,
    )


def with_fitting_size(config: Config, text: Text) -> Config:
    """Replace the number of weights, if one is given, by the number of units, without an automatic
    table of n-grams.

    Raises UsageError if no number of units fits.
    """
    if config.parameters is None:
        return config
    sized = recipe.choose_sizes(replace(config, parameters=None), text.num_train)
    rows = 0 if config.ngram_rows == "auto" else config.ngram_rows
    chosen = replace(config, cell=sized.cell, num_layers=sized.num_layers, ngram_rows=rows)
    hidden_size = fit_parameters(
        chosen, len(text.vocab), lambda size: recipe.choose_embedding_size(config, size)
    )
    return replace(chosen, hidden_size=hidden_size, parameters=None)


def open_initial_model(config: Config, checkpoints: Path) -> tuple[Config, Checkpoint | None]:
    """Load the best step of `config.init_from`, if given; return the configuration with its model,
    and the step.

    Raises CheckpointError if that run is missing or damaged, UsageError if `config` asks for
    another model.
    """
    if config.init_from is None:
        if config.extend_alphabet:
            raise UsageError(
                f"{named('extend_alphabet')} adds to the alphabet of another run: "
                f"use it with {named('init_from')}, or leave it out."
            )
        return config, None
    run, _ = open_run_to_read(config.init_from, checkpoints)
    loaded = run.load_best()
    config = with_model_of(run.name, loaded.description.config(), config)
    if check_shapes(config, loaded.model, run.path) != len(loaded.description.vocab()):
        raise CheckpointError(f"The alphabet of {config.init_from} is not that of its weights.")
    return config, loaded


def with_model_of(run: str, theirs: Config, config: Config) -> Config:
    """Return the configuration with the model of `run`, whose configuration is `theirs`.

    Raises UsageError if `config` asks for another model; a default value counts as not asked for.
    """
    default = Config()
    if config.parameters is not None:
        raise UsageError(
            f"{named('parameters')} is {config.parameters:,}, but {named('init_from')} keeps the"
            f" model of {run}. Leave one of them out."
        )
    model: dict[str, Any] = {name: getattr(theirs, name) for name in MODEL_FIELDS}
    for name, there in model.items():
        asked = getattr(config, name)
        if asked not in (there, getattr(default, name)):
            raise UsageError(
                f"{named(name)} is {asked}, but {there} in {run}: {named('init_from')} keeps the"
                " model."
            )
    same = replace(config, **model)
    if same.end_id is not None and theirs.end_id is None and same.alphabet != "byte":
        raise UsageError(
            f"{named('documents')} is {config.documents}, but the alphabet of {run} has no END"
            f" symbol: train a new model, or leave {named('documents')} out."
        )
    return same


def read_new_text(config: Config, initial: Checkpoint | None, stdin: BinaryIO | None) -> Text:
    """Read the corpus of a new run, in the vocabulary of the model it starts with, if any. Raises
    DataError."""
    vocab = None if initial is None else initial.description.vocab()
    text = read_text(config, stdin, vocab)
    if config.init_from is not None:
        check_alphabet(config.init_from, text, extended=config.extend_alphabet)
    return text


def extension_note(config: Config, initial: Checkpoint | None, text: Text) -> tuple[str, ...]:
    """Describe which characters were added to the alphabet of the model that a run starts with."""
    if initial is None or not config.extend_alphabet:
        return ()
    if text.vocab.kind == "byte":
        return (
            Message(f"the byte alphabet has every byte: {named('extend_alphabet')} adds nothing"),
        )
    added = text.vocab.characters[len(initial.description.vocab()) :]
    if not added:
        return (
            f"the alphabet of {config.init_from} has all characters of this text: none was added",
        )
    listed = ", ".join(map(repr, added[:LISTED_CHARACTERS])) + ", …" * (
        len(added) > LISTED_CHARACTERS
    )
    return (
        (
            f"{counted(len(added), 'new character')} added to the alphabet of {config.init_from}:"
            f" {listed}"
        ),
    )


def check_alphabet(run: str, text: Text, *, extended: bool) -> None:
    """Raise DataError if the alphabet of `run` has too few characters of the training or of a
    held-out text.

    The loss would be excellent, and say nothing: most of what is predicted would be the unknown
    symbol.
    """
    if text.vocab.kind == "byte":
        return
    bounds = (0, text.num_train, text.num_before_test, len(text.ids))
    for name, (begin, end) in zip(
        ("training text", "validation text", "test text"), pairwise(bounds), strict=True
    ):
        share = text.corpus.num_unknown(begin, end) / max(1, end - begin)
        if share > MAX_UNKNOWN_SHARE:
            remedy = named("min_count", 1) if extended else named("extend_alphabet")
            raise DataError(
                f"{share:.0%} of the characters of the {name} are not in the alphabet of {run}; "
                f"with {named('init_from')} at most {MAX_UNKNOWN_SHARE:.0%} may be unknown\n"
                f"add them with {remedy}, train without {named('init_from')}, "
                f"or both runs with {named('alphabet', 'byte')}, which knows every text"
            )


def plan_steps(
    config: Config,
    text: Text,
    batches: BatchRows,
    computing: Computing,
    *,
    may_end_early: bool = False,
) -> Config:
    """Turn the budget into steps; choose what depends on them, and the number of threads.

    Minutes count from `Computing.start` and are turned into steps by measuring, with
    `may_end_early` into no more than are useful. Sums on another number of threads differ in their
    last digits, so the configuration that is returned, not the command, reproduces a run. Several
    processes measure together, and get the choices of the first one.
    """
    num_val = text.num_before_test - text.num_train
    if config.minutes is None:
        planned = recipe.choose_steps(config, text.num_train, num_val)
        return computing.group.share_config(replace(planned, threads=choose_threads(planned)))
    # Measuring takes seconds, in which a reader can look at what is trained.
    tell(asdict(config) | text.facts | {"num_parameters": num_parameters(config, len(text.vocab))})
    most = max(MEASURE_SECONDS, min(MAX_MEASURE_SECONDS, LONG_MEASURE_SHARE * 60 * config.minutes))
    seconds = min(most, max(MIN_MEASURE_SECONDS, MEASURE_SHARE * 60 * config.minutes))
    seconds_per_step, threads = measure_step(config, batches, len(text.vocab), computing, seconds)
    seconds_left = max(0.0, 60 * config.minutes - (time.perf_counter() - computing.start))
    num_steps = seconds_left * (1 - recipe.EVALUATION_SHARE) / seconds_per_step
    timed = recipe.choose_members(replace(config, threads=threads), int(num_steps), text.num_train)
    most_steps = recipe.most_useful_steps(timed, text.num_train) if may_end_early else MAX_STEPS
    num_steps = min(most_steps, num_steps * config.num_networks / timed.num_networks)
    planned = recipe.choose_steps(timed, text.num_train, num_val, int(num_steps))
    return computing.group.share_config(planned)


def planning_notes(asked: Config, planned: Config, text: Text) -> tuple[str, ...]:
    """Describe what the user may not expect of the text, and which settings were changed to fit
    it."""
    notes = [*text.corpus.notes]
    if planned.end_id is not None:
        num_documents = int(text.corpus.counted.counts[text.corpus.counted.code_points == 0].sum())
        num_val = len(
            document_ends(text.ids[text.num_train : text.num_before_test], planned.end_id)
        )
        notes.append(f"{num_documents:,} documents, {num_val:,} of them in the validation text")
    num_unknown = len(text.corpus.unknown)
    if num_unknown:
        why, remedy = "too rare to learn", ""
        if planned.init_from is None and len(text.vocab) == MAX_CHARACTERS:
            why = "beyond the alphabet's limit"
        elif planned.init_from is not None and not planned.extend_alphabet:
            why = f"not in the alphabet of {planned.init_from}"
            remedy = f"; {named('extend_alphabet')} learns them"
        verb = "is" if num_unknown == 1 else "are"
        notes.append(
            Message(
                f"{num_unknown:,} of {len(text.ids):,} characters {verb} {why}: read as"
                f" unknown{remedy}"
            )
        )
        if num_unknown > 0.01 * len(text.ids) and planned.init_from is None:
            notes.append(
                Message(f"{named('alphabet', 'byte')} learns every character of such a text")
            )
    notes += validation_notes(planned, text)
    if asked.batch_size not in ("auto", planned.batch_size) or asked.bptt_length not in (
        "auto",
        planned.bptt_length,
    ):
        size = f"{planned.batch_size} batch rows of {planned.bptt_length} characters"
        notes.append(f"the text is short: it is read in {size} per step")
    if planned.num_networks > 1:
        notes.append(
            Message(
                f"{planned.num_networks} networks of {recipe.units_of_network(planned)} units are"
                f" trained side by side and saved as one network of {planned.hidden_size:,} units."
                f" {named('num_members', 1)} trains one"
            )
        )
    if recipe.ends_early(asked, planned, text.num_train):
        num_read = (
            resolved(planned.steps or 0)
            * resolved(planned.batch_size)
            * resolved(planned.bptt_length)
        )
        notes.append(
            Message(
                f"training ends before its budget, after {num_read / text.num_train:.3g} epochs:"
                " longer, a model of this size would learn so short a text by heart."
                f" {named('epochs')} sets another number."
            )
        )
    if asked.minutes is not None and resolved(planned.steps or 0) < FEW_STEPS:
        steps = "1 step fits" if planned.steps == 1 else f"{planned.steps} steps fit"
        notes.append(
            Message(
                f"only {steps} into {named('minutes', asked.minutes)}, with the start and the"
                " measuring, which is too few to learn words. Give more, or a smaller"
                f" {named('hidden_size')}"
            )
        )
    if (
        asked.minutes is not None
        and asked.threads == "auto"
        and resolved(planned.threads) < torch.get_num_threads()
    ):
        all_threads = torch.get_num_threads()
        used = "1 thread is" if planned.threads == 1 else f"{planned.threads} threads are"
        notes.append(
            f"{used} faster than {all_threads} (the model is small, or other processes use the"
            " cores)"
        )
    return tuple(notes)


def validation_notes(config: Config, text: Text) -> list[str]:
    """Describe which part of the validation text is read, if it is not all of it."""
    num_val, num_read = text.num_before_test - text.num_train, config.validation_chars
    if not isinstance(num_read, int) or num_val <= num_read:
        return []
    share = f"{100 * num_read / num_val:.2g} %"
    return [
        f"validation reads {num_read:,} of {num_val:,} characters ({share}), in segments spread"
        " evenly over the validation text"
    ]


def read_text(
    config: Config,
    stdin: BinaryIO | None,
    vocab: Vocab | None = None,
    recorded: RecordedCorpus | None = None,
) -> Text:
    """Read the corpus of a configuration, or the one a resumed run `recorded`, and encode it.

    Without `vocab`, the text gets a vocabulary of its own; `Config.extend_alphabet` adds new
    characters to `vocab`. Raises DataError if it cannot be used, CharRNNError if the ids of a large
    one cannot be written to a disk.
    """
    if recorded is not None:
        corpus = recorded.read(vocab=vocab, stdin=stdin, instead=" or start a new run")
    else:
        corpus = read_corpus(
            config.corpus,
            alphabet=config.alphabet,
            encoding=config.encoding,
            order=Order(config.order, config.order_seed),
            documents=Documents.of(config),
            vocab=vocab,
            extend_vocab=config.extend_alphabet,
            min_count=config.min_count,
            stdin=stdin,
        )
    parts = split_text(corpus.ids, config)
    if parts[0].stop < 2:
        raise DataError(
            "The training text has 1 character; it needs 2. Give a longer text or another"
            f" {named('split')}."
        )
    return Text(corpus, num_train=parts[0].stop, num_before_test=parts[1].stop)
