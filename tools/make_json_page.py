"""Write docs/look-up/json.md, the fields of what every command prints with `--json`, from the
docstrings of the records: `python tools/make_json_page.py`.

A field of a record is described below it in the code, and nowhere else. SECTIONS says which records a
command prints, and describes what is no field of a record, such as the name of the run.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from charrnn.analyses.backpropagation import Backpropagation, StepGradients
from charrnn.analyses.evidence.results import (
    Carrying,
    EvidenceCard,
    Interchange,
    Mistakes,
    Necessity,
    Sufficiency,
)
from charrnn.analyses.gates import GateReport, GateUse
from charrnn.analyses.gradients import GradientReach
from charrnn.analyses.number_tables import NumberRow, WeightNumbers
from charrnn.analyses.numbers import LayerNumbers, NetworkNumbers, StepNumbers
from charrnn.analyses.vanishing import Learner
from charrnn.analyses.why.one_place import Why
from charrnn.analyses.why.places_record import (
    AtDistance,
    EarlierCharacter,
    ExamplePlace,
    PlaceCarrier,
    WhyPlaces,
)
from charrnn.analyses.why.sentences import Carrier, LeftOut
from charrnn.cells.records import CellFindings, CellPage, CellPassage, CellScore, Skipped
from charrnn.evaluation.loss_reports import Evaluation, EvaluationRow, LossReport
from charrnn.evaluation.seed_groups import SeedGroup
from charrnn.generation.generated_text import DeadEnd, GeneratedText, Prediction
from charrnn.generation.loops import Loop
from charrnn.reports.lines import LineLoss
from charrnn.reports.provenance import CopiedPassage, Provenance
from charrnn.runs.checking import CheckedRun
from charrnn.runs.overview import LossCurve, RunSummary
from charrnn.statistics.intervals import Estimate
from charrnn.text.corpus import Place
from charrnn.text.sources import CatalogueEntry
from charrnn.training.events import ModelEvent, PlanEvent, TrainEvent

PAGE = Path(__file__).parents[1] / "docs" / "look-up" / "json.md"
"""The page that is written."""
WIDTH = 118
"""Characters of a line of the page at most."""
INTRODUCTION = """# JSON

This page lists the fields of everything that charrnn prints with `--json`. It is written from the code by `python
tools/make_json_page.py`, and a test compares the two. In all JSON, a number that is not finite is `null`, and text is
escaped to ASCII. New fields may be added; [promises](promises.md) says what stays.

Most commands print one object. `train`, `sample` and `evaluate --per-line` print JSON Lines, an object on each line.
`--export FILE.json` writes what `--json` prints, and [`--export FILE.csv`](formats.md#tables) its rows.
"""
"""The beginning of the page."""
RUN = {"run": "The name of the run."}
"""What most objects have beside the fields of a record."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """An object of JSON, described by a record."""

    title: str
    """What the object is; "" for the whole of what a command prints."""
    record: type
    """The record with its fields."""
    left_out: tuple[str, ...] = ()
    """Fields that are not in the JSON."""
    properties: tuple[str, ...] = ()
    """Properties that are in the JSON as well."""
    others: Mapping[str, str] = field(default_factory=dict)
    """What is described here, because it is no field of the record."""
    says_when: bool = False
    """Whether the first paragraph of the record's docstring stands before its fields."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """What a command prints."""

    heading: str
    """The command, and options that decide what is printed."""
    text: str = ""
    """Sentences before the fields."""
    parts: tuple[Part, ...] = ()
    """The objects."""


LOSS = {
    "windowed_256": "With `--windowed`: the fields from `protocol` on, by that protocol.",
    "part": "`validation` or `test`; absent with `--text`.",
    "common_bytes": "The bytes that were scored, [begin, end), where the held-out parts of the runs differ.",
    "trained_share": "[How much of the text](../use/evaluation.md#repeated-text) the training text has as well, if"
    " that is known.",
}
"""What `evaluate` prints about the first run, beside its loss."""
SCORE = Part(title="A score of a cell", record=CellScore)
"""What several commands print."""

TRAIN = Section(
    heading="train",
    text="An object for each event, whose field `event` is its name. With `--show-config` it is one object instead, with"
    " `value` and `from` for each setting; with `--recipe vanishing` one list at the end.",
    parts=(
        *(
            Part(title=f"`{event.event}`", record=event, left_out=("event",), says_when=True)
            for event in TrainEvent.__args__
            if event is not PlanEvent
        ),
        Part(
            title="`plan`",
            record=PlanEvent,
            left_out=("event", *ModelEvent.__dataclass_fields__),
            says_when=True,
        ),
        Part(title="A network of `--recipe vanishing`", record=Learner),
    ),
)
SAMPLE = Section(
    heading="sample",
    text="An object for each text. `match`, `known_words`, `stop`, `has_ended`, `dead_end` and `excess` are only there if"
    " they say something. [Formats](formats.md#an-example-of-json) has an example.",
    parts=(
        Part(
            title="",
            record=GeneratedText,
            left_out=("logprobs",),
            properties=("logprob",),
            others={
                **RUN,
                "prime": "The prime, or `null`.",
                "length": "The length that was asked for.",
                "temperature": "The option; absent for a beam search.",
                "match": "The option, if it was given.",
                "known_words": "`true`, if it was asked for.",
                "logprob_per_char": "The mean of it over the characters (bytes, for the byte alphabet).",
                "logprobs": "With `--color`: the log-probability of each character, in nats.",
                "values": "With `--color L:U`: the value of the cell at each character.",
                "loop": "The loop in which the text ends, or `null`.",
                "provenance": "With `--trace`: the object of [`predict --trace`](#predict---trace-and---within).",
            },
        ),
        Part(title="A `dead_end`", record=DeadEnd),
        Part(title="A `loop`", record=Loop),
    ),
)
PREDICT = Section(
    heading="predict",
    text="A list of characters, the most likely first.",
    parts=(Part(title="", record=Prediction),),
)
PREDICT_TRACE = Section(
    heading="predict --trace and --within",
    parts=(
        Part(
            title="",
            record=Provenance,
            left_out=("text", "where"),
            properties=("share_copied",),
            others={
                "num_chars": "Characters of the text.",
                "num_copied": "Those of them that are part of a passage.",
            },
        ),
        Part(title="An entry of `passages`", record=CopiedPassage),
        Part(title="A `place`, and `at`", record=Place),
    ),
)
PREDICT_WHY = Section(
    heading="predict --why",
    text="[Cells](../understand/cells.md#why-this-character) says what it means.",
    parts=(
        Part(
            title="",
            record=Why,
            left_out=(
                *("name", "characters", "terms", "layers"),
                *("are_units", "follows", "unit"),
            ),
            properties=("sentence", "text"),
            others={**RUN, "strongest": "The five characters with the largest effects."},
        ),
        Part(title="An entry of `strongest`", record=LeftOut),
        Part(title="An entry of `carriers`", record=Carrier),
    ),
)
NUMBERS = Section(
    heading="predict --numbers",
    text="[Theory](../understand/theory.md#every-number) explains the names. The recurrent weight is the matrix by which"
    " h is multiplied: for `antisymmetric` it is U − Uᵀ − damping · identity. Numbers are float64.",
    parts=(
        Part(title="", record=NetworkNumbers, properties=("mean_loss",)),
        Part(title="An entry of `weights`", record=WeightNumbers),
        Part(title="An entry of `steps`", record=StepNumbers),
        Part(title="An entry of `layers`", record=LayerNumbers),
        Part(title="A vector", record=NumberRow),
        Part(
            title="`backward`, with `--backward` ([the names](../understand/equations.md#backward))",
            record=Backpropagation,
            left_out=("forward",),
        ),
        Part(title="An entry of the `steps` of `backward`", record=StepGradients),
    ),
)
EVALUATE = Section(
    heading="evaluate",
    text="The object is about the first run.",
    parts=(
        Part(title="", record=LossReport, others={**RUN, "step": "Its step.", **LOSS}),
        Part(title="At its end", record=Evaluation, left_out=("part", "common_bytes")),
        Part(
            title="An entry of `rows`, which also has the fields from `protocol` on",
            record=EvaluationRow,
            left_out=("loss",),
        ),
        Part(title="An entry of `groups`", record=SeedGroup),
        Part(title="`nats` of a group, and each `difference`", record=Estimate),
    ),
)
PER_LINE = Section(
    heading="evaluate --per-line",
    text="An object for each line.",
    parts=(
        Part(
            title="",
            record=LineLoss,
            left_out=("nats",),
            others={
                "nats": "The sum over the characters of −ln p, by the first run.",
                "nats_per_char": "The same per character.",
                "nats_by_run": "With several runs: the sums by the names of the runs.",
            },
        ),
    ),
)
RUNS = Section(
    heading="runs",
    text="A list with an object for each run. `runs delete` prints `deleted`, the folders, and `bytes`, what is free.",
    parts=(Part(title="", record=RunSummary, left_out=("validation",)),),
)
RUNS_PLOT = Section(
    heading="runs --plot",
    text="A list with an object for each learning curve: `run`, the fields `text`, `digest`, `alphabet`, `split` and"
    " `warnings` as above, and `validation`.",
    parts=(Part(title="`validation`", record=LossCurve),),
)
RUNS_CHECK = Section(
    heading="runs check",
    text="A list with an object for each run.",
    parts=(Part(title="", record=CheckedRun, properties=("is_whole",)),),
)
CORPORA = Section(
    heading="corpora",
    text="A list with an object for each text. `corpora show NAME` prints one of them, and `corpora fetch NAME` its"
    " `name` and `path`.",
    parts=(
        Part(
            title="",
            record=CatalogueEntry,
            others={"path": "Where the text is on this machine, or `null`."},
        ),
    ),
)
FIND = Section(
    heading="visualize",
    text="`visualize --find` prints the same.",
    parts=(
        Part(
            title="",
            record=CellFindings,
            left_out=("scores",),
            others={**RUN, "findings": "The score of the best cell for each detector."},
        ),
        Part(title="An entry of `findings`", record=CellScore),
        Part(title="An entry of `skipped`", record=Skipped),
    ),
)
CELL = Section(
    heading="visualize --cell",
    text="A score of a page is an entry of `findings` of [`visualize`](#visualize).",
    parts=(
        Part(
            title="",
            record=CellPage,
            left_out=(
                *("scores", "num_chars", "mean", "spread"),
                *("histogram", "passages", "polarity"),
            ),
            others={
                **RUN,
                "text": "The coloured text.",
                "values": "The value of the first cell at each character.",
                "cells": "For each `--cell`: `layer`, `unit`, `values` and `page`.",
                "labels": "With `--detector`: a boolean for each character, by the name of the detector.",
                "guesses": "With `--guesses`: after each character the five most likely next ones, with their"
                " probabilities.",
            },
        ),
        Part(title="A `page`", record=CellPage),
        Part(title="An entry of `passages`", record=CellPassage),
    ),
)
SURPRISE = Section(
    heading="visualize --surprise",
    text="`run`, `text`, `bits` (the surprise of each character), and `sentences` and `words`. Both have `least` and"
    " `most`: lists of the objects of [`evaluate --per-line`](#evaluate---per-line), for the whole text.",
)
GATES = Section(
    heading="visualize --gates",
    parts=(
        Part(title="", record=GateReport),
        Part(title="An entry of `gates`", record=GateUse),
    ),
)
GRADIENTS = Section(
    heading="visualize --gradients",
    text="A list in which each run is followed by its untrained baseline.",
    parts=(Part(title="", record=GradientReach),),
)
WHY_PLACES = Section(
    heading="visualize --why",
    parts=(
        Part(title="", record=WhyPlaces, others=RUN),
        Part(
            title="An entry of `rows`",
            record=EarlierCharacter,
            properties=("share", "is_above_chance"),
        ),
        Part(title="An entry of `carriers`", record=PlaceCarrier),
        Part(title="An entry of `by_distance`", record=AtDistance),
        Part(title="An entry of `examples`", record=ExamplePlace),
    ),
)
EVIDENCE = Section(
    heading="visualize --evidence",
    text="[Evidence](../understand/cells.md#evidence) explains the tests. `tracks` is an entry of"
    " `findings` of [`visualize`](#visualize).",
    parts=(
        Part(
            title="",
            record=EvidenceCard,
            properties=("verdict", "assumptions"),
            others={
                **RUN,
                "tests": "For `tracks`, `necessary`, `sufficient` and `interchangeable`: whether the cell passes, or"
                " `null` if it was not measured.",
            },
        ),
        Part(title="`necessary`", record=Necessity),
        Part(title="`sufficient`", record=Sufficiency),
        Part(title="`interchange`", record=Interchange),
        Part(title="`fooled`", record=Mistakes),
        Part(title="`carries`, with `--why`", record=Carrying),
    ),
)
EXPORT = Section(
    heading="export and demo",
    text="`export` prints `file`, `bytes`, `step` and `val_nats`. `demo` prints `cell`, [layer, unit]; `characters`, a"
    " list of pairs of a character and the value of the cell; and `cells`, objects as of"
    " [`visualize`](#visualize).",
)
SECTIONS = (
    *(TRAIN, SAMPLE, PREDICT, PREDICT_TRACE, PREDICT_WHY, NUMBERS),
    *(EVALUATE, PER_LINE, RUNS, RUNS_PLOT, RUNS_CHECK, CORPORA),
    *(FIND, CELL, SURPRISE, GATES, GRADIENTS, WHY_PLACES, EVIDENCE, EXPORT),
)
"""The sections of the page."""


def documented_fields(record: type) -> dict[str, str]:
    """Return the docstring below each field of a record, those of its base classes first."""
    found: dict[str, str] = {}
    for owner in reversed(record.__mro__):
        if "__dataclass_fields__" not in vars(owner):
            continue
        [definition] = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(definition, ast.ClassDef)
        for statement, following in zip(definition.body, definition.body[1:], strict=False):
            is_field = isinstance(statement, ast.AnnAssign)
            if is_field and isinstance(following, ast.Expr):
                assert isinstance(following.value, ast.Constant)
                found[ast.unparse(statement.target)] = str(following.value.value)
    return {name: text for name, text in found.items() if name in record.__dataclass_fields__}


def as_json_says(text: str) -> str:
    """Return a docstring in the words of JSON, on one line."""
    text = " ".join(text.split()).replace("\\\\", "\\")
    for python, json in {"None": "`null`", "True": "`true`", "False": "`false`"}.items():
        text = re.sub(rf"(?<![`\w]){python}\b(?!`)", json, text)
    return text


def describe_part(part: Part) -> str:
    """Return the list of the fields of an object."""
    described = documented_fields(part.record)
    missing = {*part.record.__dataclass_fields__} - {*described}
    assert not missing, f"{part.record.__name__}: no docstring below {missing}"
    fields = dict(part.others)
    fields |= {name: text for name, text in described.items() if name not in part.left_out}
    for name in part.properties:
        docstring = inspect.getdoc(getattr(part.record, name)) or ""
        fields[name] = docstring.partition("\n\n")[0]
    lines = []
    for name, text in fields.items():
        entry = f"- `{name}`: {as_json_says(text)}"
        lines.append(textwrap.fill(entry, WIDTH, subsequent_indent="  ", break_on_hyphens=False))
    head = f"**{part.title}**" if part.title else ""
    if part.says_when:
        docstring = (inspect.getdoc(part.record) or "").partition("\n\n")[0]
        head += f": {as_json_says(docstring)}"
    wrapped = textwrap.fill(head, WIDTH, break_on_hyphens=False)
    return "\n\n".join(text for text in (wrapped, "\n".join(lines)) if text)


def sections() -> Iterator[str]:
    """Yield the sections of the page."""
    yield INTRODUCTION.strip()
    for section in SECTIONS:
        parts = [f"## {section.heading}"]
        if section.text:
            parts.append(textwrap.fill(section.text, WIDTH, break_on_hyphens=False))
        parts += [describe_part(part) for part in section.parts]
        yield "\n\n".join(parts)


def make_page() -> str:
    """Return the text of docs/look-up/json.md."""
    return "\n\n".join(sections()) + "\n"


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
