"""A run that is continued: what may change, its text, and what is left of its budget."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from charrnn.config.plan_record import PlanEntry
from charrnn.config.settings import BUDGETS, CHANGEABLE, Config, parse_value
from charrnn.errors import CheckpointError, UsageError, counted, named
from charrnn.model.shapes import check_shapes
from charrnn.runs.checkpoint import Checkpoint
from charrnn.runs.writer import RunWriter
from charrnn.text.recorded_corpus import recorded_corpus
from charrnn.training import recipe
from charrnn.training.measuring import Computing
from charrnn.training.minutes import TimeBudget, plan_until, with_plan
from charrnn.training.plan import Plan, choose_steps, with_precision
from charrnn.training.run_text import RunText


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """A run that is continued."""

    run: RunWriter
    checkpoint: Checkpoint
    """Its latest checkpoint."""
    before: Config
    """Its configuration until now."""
    changes: Mapping[str, object]
    """The settings that are given now."""
    config: Config
    """`before` with `changes` applied."""


def parse_changes(changes: Mapping[str, object]) -> dict[str, Any]:
    """Parse the settings that a resumed run is to change. Raises UsageError for any outside of
    CHANGEABLE.

    All other settings are those of the weights: changing them takes a new run, with `init_from`.
    """
    fixed = [name for name in changes if name not in CHANGEABLE]
    if fixed:
        raise UsageError(
            f"{named('resume')} cannot change {', '.join(map(named, fixed))}: the saved weights"
            f" depend on it. It can change {', '.join(map(named, CHANGEABLE))}; for all else, as"
            f" for another text, start a new run, with {named('init_from')} from these weights."
        )
    parsed = {}
    for name, value in changes.items():
        if value is not None or name not in BUDGETS:
            parsed[name] = parse_value(name, value)
    return parsed


def load_resumed(run: RunWriter, changes: Mapping[str, Any], num_processes: int) -> Resumed:
    """Load the latest checkpoint of a run, and replace settings of the run by `changes`. A new
    budget replaces a budget of any kind.

    `continued_plan` then says what is left of the budget.

    Raises CheckpointError if it is damaged, UsageError for a value out of range.
    """
    # The configuration in the run's folder may be newer than that of the checkpoint.
    checkpoint = run.load_checkpoint("latest", with_training=True)
    try:
        before = run.read_config()
    except CheckpointError:
        before = checkpoint.description.config()

    # A plan that was made after the checkpoint is made again: its steps were not saved.
    before = plan_until(before, checkpoint.step)

    # The threads are chosen again with the steps, and if the number of processes that share the
    # cores has changed. A new budget has a plan of its own.
    changed = dict(changes)
    if changes.keys() & set(BUDGETS):
        changed = dict.fromkeys((*BUDGETS, "plan")) | changed
    has_other_processes = checkpoint.state.get("num_processes", 1) != num_processes
    if "minutes" in changes or has_other_processes:
        changed.setdefault("threads", "auto")
    config = before
    threads = changed.get("threads", "auto")
    if before.plan is not None and "plan" not in changed and threads != "auto":
        entry = PlanEntry(
            checkpoint.step, num_steps=before.plan_entries[-1].num_steps, threads=threads
        )
        config = with_plan(before, entry)
    config = replace(config, **changed)
    check_shapes(config, tensors=checkpoint.model, path=run.path)
    return Resumed(
        run=run,
        checkpoint=checkpoint,
        before=before,
        changes=changes,
        config=config,
    )


def read_same_text(resumed: Resumed) -> RunText:
    """Read the text that the run was trained on. Raises DataError if it changed, CheckpointError
    for a damaged run.

    A new run reads its text by `run_text.read_new_text`, which accepts what it finds.
    """
    run = resumed.run.path
    config = resumed.config
    checkpoint = resumed.checkpoint

    # Without a digest, a run from elsewhere could name any file of this disk, and learn it.
    recorded = recorded_corpus(run.name, config=config, state=checkpoint.state, folder=run)
    if recorded is None:
        raise CheckpointError(
            f"{run.name} does not say by a digest which text it has learned, so it cannot go on"
            f" with it\nstart from its weights, with the text: {named('init_from', run.name)}"
        )
    vocab = checkpoint.description.vocab()
    text = RunText.of(recorded.read(vocab=vocab, instead="start a new run"), config)

    # A new run never reads more characters per step than its text has. A damaged config.yaml may
    # ask for that, and for any amount of memory.
    if config.chars_per_step > text.num_train:
        raise CheckpointError(
            f"{run / 'config.yaml'} is damaged: {config.batch_size} batch rows of"
            f" {config.bptt_length} characters per step are more than the {text.num_train:,} of its"
            f" text\nrestore it from a copy, or start from the weights:"
            f" {named('init_from', run.name)}"
        )
    return text


def continued_plan(resumed: Resumed, text: RunText, computing: Computing) -> Plan:
    """Return the plan of a resumed run, whose configuration has the minutes that are left of its
    budget. `plan_steps` turns them into steps.

    A budget counts from the start of the run. How often the run validates and saves follows from a
    new budget if it followed from the old budget. Raises UsageError for a budget that is used up.
    """
    config = resumed.config
    changes = resumed.changes
    if "precision" in changes:
        config = with_precision(config, computing.device)

    # With a new budget, what followed from the old one is chosen again: where the value is what
    # `auto` would have chosen, nobody asked for it.
    [budget_field] = [name for name in BUDGETS if getattr(config, name) is not None]
    if budget_field in changes:
        chosen = choose_steps(
            replace(resumed.before, evaluate_every="auto", save_every="auto"),
            num_train_chars=text.num_train,
            num_val_chars=text.num_validation,
        )
        followers: dict[str, Any] = {}
        for name in ("evaluate_every", "save_every"):
            if name not in changes and getattr(config, name) == getattr(chosen, name):
                followers[name] = "auto"
        config = replace(config, **followers)

    # A budget of minutes has no number of steps, so its time is compared.
    num_taken = resumed.checkpoint.step
    minutes = resumed.run.metrics.seconds_at(num_taken) / 60
    num_steps = recipe.steps_of_budget(config, num_train_chars=text.num_train)
    is_used_up = (config.minutes or 0) <= minutes
    if num_steps is not None:
        is_used_up = num_steps < num_taken
    if is_used_up:
        raise UsageError(
            f"{named(budget_field)} is {getattr(config, budget_field)}, but"
            f" {resumed.run.path.name} has taken {counted(num_taken, 'step')} in {minutes:.2f}"
            " minutes already\n"
            "a budget counts from the start of the run: give more, or leave it out"
        )
    if config.minutes is not None:
        config = replace(config, minutes=config.minutes - minutes)
    return Plan(config=config, budget=_budget_of(resumed, continued=config))


def _budget_of(resumed: Resumed, continued: Config) -> TimeBudget | None:
    """Return the budget in minutes to which a resumed run keeps: the one that it is given now, else
    the one that its checkpoint recorded, unless it got another budget since.

    `continued` has the minutes that are left. Raises CheckpointError for a damaged record.
    """
    config = resumed.config
    if config.minutes is not None and continued.minutes is not None:
        return TimeBudget(
            minutes=config.minutes,
            seconds_before=60 * (config.minutes - continued.minutes),
            planned_step=resumed.checkpoint.step,
            chooses_threads=config.threads == "auto",
        )

    state = resumed.checkpoint.state.get("budget")
    if not isinstance(state, dict) or state.get("steps") != config.steps:
        return None
    recorded: dict[str, Any] = {}
    for name, default in asdict(TimeBudget(minutes=0.0)).items():
        recorded[name] = state.get(name)
        if type(recorded[name]) is not type(default):
            raise CheckpointError("training.json has no usable budget.")
    budget = TimeBudget(**recorded)
    if "threads" in resumed.changes:
        budget.chooses_threads = False
    return budget
