"""One of each kind of object that a terminal and a notebook show, with hostile texts."""

from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import numpy as np
from example_results import FINDINGS, HUGE, QUOTE, RUN, STRAIGHT, WAR, provenance

from charrnn.analyses.evidence.results import EvidenceCard
from charrnn.analyses.gates import GateReport, GateUse
from charrnn.analyses.gradients import GradientReach
from charrnn.analyses.numbers import LayerNumbers, NetworkNumbers, NumberRow, StepNumbers
from charrnn.analyses.why import Why
from charrnn.analyses.why.places_record import (
    AtDistance,
    EarlierCharacter,
    ExamplePlace,
    PlaceCarrier,
    WhyPlaces,
)
from charrnn.cells.records import (
    CellPage,
    CellPassage,
    ColouredText,
    Passage,
)
from charrnn.cells.trace import Trace
from charrnn.evaluation.loss_reports import Evaluation, EvaluationRow, LossReport
from charrnn.generation.generated_text import GeneratedText, Prediction
from charrnn.model.losses import bits
from charrnn.runs.overview import LearningCurves, ModelDescription
from charrnn.system.display import RecordList, RecordTuple
from charrnn.text.sources import load_catalogue
from charrnn.views import tables
from charrnn.views.findings_tables import findings_table

HOSTILE = "<script>alert('x')</script>&\x1b[2J"
EMPTY = np.empty(0)


def example(kind, /, **fields):
    """Build a record: fields that are not given are small numbers, hostile texts, and tuples of one
    such value."""
    hints = get_type_hints(kind)
    names = [one.name for one in dataclass_fields(kind) if one.init and one.name not in fields]
    return kind(**{name: value_of(hints[name]) for name in names}, **fields)


def value_of(hint):
    simple = {int: 1, float: 0.5, str: HOSTILE, bool: True}
    if hint in simple:
        return simple[hint]
    if is_dataclass(hint):
        return example(hint)
    inner = get_args(hint)
    if get_origin(hint) is Annotated:
        return value_of(inner[0])
    if get_origin(hint) is tuple:
        return tuple(value_of(one) for one in inner if one is not Ellipsis)
    if get_origin(hint) is dict:
        return {value_of(inner[0]): value_of(inner[1])}
    return inner[0] if get_origin(hint) is Literal else value_of(inner[0])


LOSS = example(LossReport, protocol="stateful", nats_per_char=1.0, bpc=bits(1.0), precision="fp32")
COLOURED = ColouredText(text=HOSTILE, values=(0.5,) * len(HOSTILE))
REACHES = RecordTuple(
    [example(GradientReach, name=n, lags=(1, 2), norms=((1.0, 0.5),)) for n in "ab"]
)
PASSAGE = example(
    CellPassage, kind="top", index=1, begin=0, text=HOSTILE, values=(0.5,) * len(HOSTILE)
)
NUMBERS = NumberRow("x", ("<",), (0.5,))
VECTORS = {"input": NUMBERS, "logits": NUMBERS, "probabilities": NUMBERS, "output": (NUMBERS,)}
STEP = example(StepNumbers, layers=(LayerNumbers((NUMBERS,)),), **VECTORS)
UNSAFE = (*HOSTILE, "\u202e", "\u2066", "\u200d", "\x9b", "漢", "é", "\n", "\0", "", "\\xe9")
"""Characters, as an alphabet names them, that steer a terminal, turn a line round, or are wide; the
end of a document, the unknown symbol and a byte."""
EFFECTS = np.linspace(-3, 3, len(UNSAFE))
WHY = Why(
    name=HOSTILE,
    character="\u202e",
    probability=0.25,
    others=(("\x1b", 0.5), ("<", 0.125), ("", 0.0)),
    characters=UNSAFE,
    effects=EFFECTS,
    probabilities=0.25 * np.exp(-EFFECTS),
    terms=EFFECTS[None, :, None] * [0.75, 0.25],
    layers=(0,),
    are_units=True,
    follows={(0, 0): HOSTILE},
    num_read=1_000,
    replaced={"\x1b": "\u202e", "\u2066": ""},
)
CARRIER = example(PlaceCarrier, name="0:97", num_most=3, follows=HOSTILE)
WHY_PLACES = example(
    WhyPlaces,
    character="\x1b",
    num_available=1_234,
    rows=tuple(
        example(
            EarlierCharacter,
            character=character,
            role="opens",
            here="closes",
            carriers=(CARRIER,),
            by_distance=(example(AtDistance), example(AtDistance, distance=20.0, effect=-0.25)),
        )
        for character in UNSAFE
    ),
    examples=(
        ExamplePlace(
            characters=UNSAFE, effects=tuple(EFFECTS), distance=7, effect=0.5, probability=0.25
        ),
    ),
    carriers=(CARRIER,),
)
OBJECTS = {
    "findings": (FINDINGS, "bracket-depth"),
    "gates": (example(GateReport, cell_type="gru", gates=(example(GateUse, gate="z"),)), "shut"),
    "evidence": (example(EvidenceCard, tracks=QUOTE, interchange=None), "necessary"),
    "gradient": (REACHES[0], "characters"),
    "coloured text": (COLOURED, "<script>"),
    "guesses": (
        ColouredText(text="ab", values=(0.0, 1.0), guesses=((("<", 0.9),), ((HOSTILE, 0.5),))),
        "Below each character",
    ),
    "surprise": (
        Trace(HOSTILE, EMPTY, EMPTY, np.append(np.nan, np.zeros(len(HOSTILE) - 1))),
        "8 bits or more",
    ),
    "passage": (
        Passage(score=QUOTE, begin=0, coloured=COLOURED),
        "cell 1:17 follows quote: low inside",
    ),
    "text": (GeneratedText(text=f"one\n{HOSTILE}", logprobs=()), "one\n<script"),
    "provenance": (provenance(HOSTILE, (0, 8)), "31,337"),
    "prediction": (Prediction(character="e", probability=0.5), "0.5000"),
    "predictions": (RecordList([Prediction(character="<", probability=0.5)] * 2), "<"),
    "run": (RUN, "shakespeare-001"),
    "huge run": (HUGE, "16384"),
    "runs": (RecordList([RUN, WAR]), "war-001"),
    "gradients": (REACHES, "b"),
    "loss": (LOSS, "stateful"),
    "evaluation": (
        Evaluation(rows=(EvaluationRow(name=HOSTILE, loss=LOSS),), part=None),
        "Stateful loss over this text",
    ),
    "learning curves": (LearningCurves([STRAIGHT]), "steps"),
    "cell passage": (PASSAGE, "+0.50"),
    "cell page": (
        example(CellPage, scores=(QUOTE,), histogram=(1, 2), passages=(PASSAGE,)),
        "standard deviation",
    ),
    "numbers": (example(NetworkNumbers, steps=(STEP,)), "0.500"),
    "why": (WHY, "Effects must not be added"),
    "why at places": (WHY_PLACES, "95 % interval"),
    "model": (
        example(ModelDescription, depth="residual", alphabet="byte", num_parameters=1_234_567),
        "1,234,567",
    ),
}
NATS = {"nats_per_char": 10, "bpc": 14.4, "bits_per_byte": 57.7}
WINDOWED_LOSS = LossReport(
    protocol="windowed-256", num_chars=10**9, text_length=10**12, precision="bf16", **NATS
)
WIDE_TABLES = {
    "findings": findings_table(FINDINGS),
    "predictions": tables.predictions_table(
        [Prediction(character=c, probability=1.0) for c in ("日", "\\x80", "\u200d")]
    ),
    "losses": tables.losses_table([EvaluationRow(name="", loss=WINDOWED_LOSS)]),
    "provenance": provenance("日本" * 50_000, (0, 100_000)).passages_table(),
    "catalogue": tables.catalogue_table(load_catalogue()),
    "settings": tables.settings_table(
        {"corpus": ("a-very-long-name-" * 8, "日本" * 60)}, {"corpus": "environment"}
    ),
}
