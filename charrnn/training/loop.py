"""Training as a stream of events: nothing here prints, and everything worth keeping is on disk before it is told."""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from charrnn.clock import seconds_since_start
from charrnn.config import BUDGETS, Config, parse_value, resolved, to_yaml
from charrnn.errors import DataError, UsageError
from charrnn.evaluation.loss import bits, stateful_nats
from charrnn.generation.distribution import Shaping
from charrnn.generation.sampling import sample_text, start_ids
from charrnn.model.device import pick_device
from charrnn.model.reading import IdArray
from charrnn.model.stepper import Stepper
from charrnn.records import (
    DoneEvent,
    EvaluationEvent,
    SampleEvent,
    SavedEvent,
    StartEvent,
    StepEvent,
    TrainEvent,
    WarningEvent,
)
from charrnn.runs.folder import RunFolder
from charrnn.runs.metrics import MetricsLog
from charrnn.text.corpus import Corpus, read_corpus
from charrnn.text.lanes import Lanes, split_ids
from charrnn.text.vocab import Vocab
from charrnn.training.recipe import DEFAULT_MINUTES, choose_sizes, choose_steps
from charrnn.training.trainer import Trainer

SAMPLE_LENGTH = 240
SAMPLE_TEMPERATURE = 0.8
CHANGEABLE = (*BUDGETS, "device", "precision", "evaluate_every", "save_every", "keep")
"""What a resumed run may change: how long, where, and what is kept; nothing that the saved weights depend on."""

Download = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Text:
    """The corpus as ids, cut into what is learned from and what is validated on."""

    corpus: Corpus
    vocab: Vocab
    ids: IdArray
    num_train: int
    num_before_test: int


def _never() -> bool:
    return False


def train(
    config: Config,
    *,
    out: Path | None = None,
    checkpoints: Path = Path("checkpoints"),
    should_stop: Callable[[], bool] = _never,
    stdin: BinaryIO | None = None,
    on_download: Download | None = None,
) -> Iterator[TrainEvent]:
    """Train a new model; yield what happens, as it happens.

    The run goes to the folder `out`, or to the next free `checkpoints/NAME-001`. `should_stop` is asked after every
    step: once it says yes, that step is saved and training ends. Raises DataError for a corpus that cannot be used,
    UsageError for settings that cannot, NonFiniteError when training diverges (the last saved step stays good).
    """
    began = time.perf_counter()
    device = pick_device(config.device)
    if all(getattr(config, budget) is None for budget in BUDGETS):
        config = replace(config, minutes=DEFAULT_MINUTES)
    minutes = config.minutes
    text = _read_text(config, stdin, on_download)
    asked = (config.num_lanes, config.bptt_length)
    config = choose_sizes(config, text.num_train)
    chosen = (config.num_lanes, config.bptt_length)
    notes = [*text.corpus.notes, *_explain_unknown(text)]
    if any(value not in ("auto", got) for value, got in zip(asked, chosen, strict=True)):
        notes.append(f"the text is too short for that: {chosen[0]} lanes of {chosen[1]} characters per step instead")
    lanes = _make_lanes(config, text)
    num_val = text.num_before_test - text.num_train
    seconds_per_step, seconds_left = None, 0.0
    if minutes is not None:
        trial = replace(config, minutes=None, steps=1, dropout=0.2 if config.dropout == "auto" else config.dropout)
        measured_for = min(2.5, 1.8 * minutes)
        seconds_per_step = Trainer(trial, lanes, len(text.vocab), device).measure_step(measured_for)
        seconds_left = max(0.0, 60 * minutes - (time.perf_counter() - began))
    config = choose_steps(config, text.num_train, num_val, seconds_per_step, seconds_left)

    run = RunFolder.create_at(out) if out is not None else RunFolder.create(checkpoints, text.corpus.name)
    with run.lock():
        run.write_text("config.yaml", to_yaml(config))
        run.write_text("vocab.json", json.dumps(text.vocab.to_json(), ensure_ascii=True))
        trainer = Trainer(config, lanes, len(text.vocab), device)
        yield from _run(run, trainer, text, tuple(notes), (), None, should_stop)


def resume(
    run: RunFolder,
    changes: Mapping[str, object] | None = None,
    *,
    should_stop: Callable[[], bool] = _never,
    stdin: BinaryIO | None = None,
) -> Iterator[TrainEvent]:
    """Go on with `run` from its latest saved step: on a CPU, bit for bit as if it had never stopped.

    `changes` may name the fields of CHANGEABLE. A budget in minutes or epochs is counted from here.
    Raises CheckpointError if the run is damaged, DataError if its text changed, UsageError for any other change.
    """
    changes = dict(changes or {})
    fixed = [name for name in changes if name not in CHANGEABLE]
    if fixed:
        raise UsageError(
            f"--resume cannot change {', '.join(fixed)}: the saved weights depend on it. "
            f"It can change {', '.join(CHANGEABLE)}; for all else start a new run."
        )
    with run.lock():
        config = run.read_config()
        vocab = Vocab.from_json(run.read_vocab_json())
        loaded = run.load_step("latest", with_training=True)
        text = _read_text(config, stdin, None, vocab)
        if loaded.state.get("corpus_digest") != text.corpus.digest:
            raise DataError(
                f"The text of {run.path.name} has changed since it was trained ({', '.join(text.corpus.sources)}).\n"
                "Put the old text back, or start a new run."
            )
        lanes = _make_lanes(config, text)
        device = pick_device(str(changes.get("device", config.device)))
        parsed: dict[str, Any] = {name: parse_value(name, value) for name, value in changes.items()}
        budget = {name: parsed.pop(name) for name in BUDGETS if parsed.get(name) is not None}
        config = replace(config, **parsed)
        trainer = Trainer(config, lanes, len(vocab), device)
        trainer.restore(loaded.model, loaded.training, loaded.state)
        if budget:
            config = _extend(config, budget, trainer, text)
            if (config.steps or 0) < trainer.step:
                raise UsageError(
                    f"--steps is {config.steps}, but {run.path.name} has taken {trainer.step} steps already."
                )
            trainer.config, trainer.num_steps = config, config.steps or 0
        run.write_text("config.yaml", to_yaml(config))
        MetricsLog(run.path / "metrics.jsonl").rewind(trainer.step)
        best = loaded.state.get("best_nats")
        best_nats = float(best) if isinstance(best, int | float) else None
        best_step = loaded.state.get("best_step")
        yield from _run(
            run,
            trainer,
            text,
            text.corpus.notes,
            loaded.warnings,
            (best_nats, best_step if isinstance(best_step, int) else 0),
            should_stop,
        )


def _extend(config: Config, budget: Mapping[str, Any], trainer: Trainer, text: _Text) -> Config:
    """The configuration with a new number of steps: `steps` counts in all, `minutes` and `epochs` from here."""
    no_budget: dict[str, Any] = dict.fromkeys(BUDGETS)
    more = replace(config, **{**no_budget, **budget})
    seconds_per_step, seconds_left = None, 0.0
    if more.minutes is not None:
        seconds_per_step, seconds_left = trainer.measure_step(min(2.5, 1.8 * more.minutes)), 60 * more.minutes
    num_val = text.num_before_test - text.num_train
    more = choose_steps(more, text.num_train, num_val, seconds_per_step, seconds_left)
    return more if "steps" in budget else replace(more, steps=trainer.step + (more.steps or 0))


def _read_text(
    config: Config, stdin: BinaryIO | None, on_download: Download | None, vocab: Vocab | None = None
) -> _Text:
    corpus = read_corpus(config.corpus, alphabet=config.alphabet, stdin=stdin, on_download=on_download)
    content = corpus.content
    if vocab is None:
        vocab = Vocab.of_bytes() if isinstance(content, bytes) else Vocab.from_text(content, min_count=config.min_count)
    ids = vocab.encode(content)
    parts = split_ids(len(ids), config.split)
    return _Text(corpus, vocab, ids, num_train=parts[0].stop, num_before_test=parts[1].stop)


def _make_lanes(config: Config, text: _Text) -> Lanes:
    return Lanes(text.ids[: text.num_train], resolved(config.num_lanes))


def _run(
    run: RunFolder,
    trainer: Trainer,
    text: _Text,
    notes: tuple[str, ...],
    warnings: tuple[str, ...],
    resumed: tuple[float | None, int] | None,
    should_stop: Callable[[], bool],
) -> Iterator[TrainEvent]:
    config, num_steps = trainer.config, trainer.num_steps
    evaluate_every, save_every = resolved(config.evaluate_every), resolved(config.save_every)
    metrics = MetricsLog(run.path / "metrics.jsonl")
    chars_per_step = trainer.lanes.num_lanes * trainer.bptt_length
    milestones = {math.ceil(num_steps * share) for share in (0, 1 / 64, 1 / 16, 1 / 4, 1)}
    best_nats, best_step = resumed or (None, 0)
    val_nats: float | None = None
    saved_step = trainer.step if resumed else None

    def save(is_best: bool) -> SavedEvent:
        nonlocal saved_step
        tensors, counters = trainer.snapshot()
        state = {**counters, "best_nats": best_nats, "best_step": best_step, "corpus_digest": text.corpus.digest}
        path = run.save_step(trainer.step, trainer.model_tensors(), tensors, state)
        run.point("latest", path.name)
        if is_best:
            run.point("best", path.name)
        run.prune(config.keep)
        saved_step = trainer.step
        return SavedEvent(step=trainer.step, path=str(path))

    def write() -> SampleEvent:
        written = _write_sample(trainer, text.vocab, config.seed)
        run.append_text("samples.txt", f"--- step {trainer.step} ---\n{written}\n\n")
        return SampleEvent(step=trainer.step, text=written)

    yield StartEvent(
        run=str(run.path),
        num_parameters=trainer.network.num_parameters,
        num_steps=num_steps,
        first_step=trainer.step,
        config=asdict(config),
        corpus=", ".join(text.corpus.sources),
        num_chars=len(text.ids),
        num_train_chars=text.num_train,
        vocab_size=len(text.vocab),
        notes=notes,
    )
    for message in warnings:
        yield WarningEvent(message=message)
    if resumed is None:
        # Before hours are spent: a full disk or a read-only folder shows now.
        yield save(is_best=False)
        yield write()
    is_complete = True
    while trainer.step < num_steps:
        if should_stop():
            is_complete = False
            break
        begin = time.perf_counter()
        result = trainer.take_step()
        is_last = trainer.step == num_steps
        event = StepEvent(
            step=trainer.step,
            seconds=seconds_since_start(),
            train_nats=result.train_nats,
            grad_norm=result.grad_norm,
            learning_rate=result.learning_rate,
            chars_per_second=chars_per_step / (time.perf_counter() - begin),
        )
        metrics.append(event.to_json())
        yield event
        is_best = False
        if is_last or trainer.step % evaluate_every == 0:
            val_nats = stateful_nats(
                trainer.averaged, text.ids[: text.num_before_test], text.num_train, precision=config.precision
            )
            is_best = best_nats is None or val_nats < best_nats
            if is_best:
                best_nats, best_step = val_nats, trainer.step
            evaluation = EvaluationEvent(
                step=trainer.step,
                seconds=seconds_since_start(),
                val_nats=val_nats,
                val_bpc=bits(val_nats),
                is_best=is_best,
            )
            metrics.append(evaluation.to_json())
            yield evaluation
        if is_last or is_best or trainer.step % save_every == 0:
            yield save(is_best)
        if trainer.step in milestones:
            yield write()
    if saved_step != trainer.step:
        yield save(is_best=False)
    yield DoneEvent(
        step=trainer.step,
        seconds=seconds_since_start(),
        val_nats=val_nats,
        best_step=best_step,
        run=str(run.path),
        is_complete=is_complete,
    )


def _explain_unknown(text: _Text) -> list[str]:
    num_unknown = int((text.ids == 0).sum()) if text.vocab.kind == "char" else 0
    return (
        [f"{num_unknown:,} of {len(text.ids):,} characters are too rare to learn: read as unknown"]
        if num_unknown
        else []
    )


def _write_sample(trainer: Trainer, vocab: Vocab, seed: int) -> str:
    stepper = Stepper(trainer.config, trainer.model_tensors())
    shaping = Shaping(temperature=SAMPLE_TEMPERATURE)
    pieces = sample_text(stepper, vocab, start_ids(vocab), shaping=shaping, seed=seed, length=SAMPLE_LENGTH)
    return "".join(piece for piece, _ in pieces)
