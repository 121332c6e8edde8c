"""Directions: a property that is spread over several cells is found, ablated and clamped as one."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from drawn import lines
from effects_networks import make_config, make_network, make_text, step_through, tensors_of
from encoded_texts import as_text
from progress_reports import reports
from rich.cells import cell_len
from rich.console import Group

import charrnn
from charrnn.analyses import directions
from charrnn.analyses.directions import Direction, ablate_sum, sum_at_means
from charrnn.cells.findings_cache import FindingsCache
from charrnn.cli.arguments import parse_direction
from charrnn.config.architectures import CELL_DESCRIPTIONS
from charrnn.config.settings import Config
from charrnn.detectors.detector import Detector
from charrnn.detectors.prose import label_quotes
from charrnn.detectors.registry import DETECTORS
from charrnn.errors import DataError, UsageError
from charrnn.model.cell_type_registry import cell_type
from charrnn.model.cell_types import CLAMP_LIMIT
from charrnn.model.clamping import NUM_CELLS, ClampedSum
from charrnn.model.network import CharRNN
from charrnn.model.stepper import Stepper
from charrnn.model_study import ModelStudy

SIZE = 8
MARKS = "abpqrstuc z"
"""a opens and b closes a span, with c inside; p and q, r and s, t and u switch a disturbance on and
off; z ends all."""


TEXT = make_text(150)
LABELLINGS = [DETECTORS["quote"].labelling(TEXT.text)]


def _inside(text):
    return np.cumsum([(character == "a") - (character == "b") for character in text]) > 0


SPANS = Detector("span", "between a and b", _inside)


def make_direction(weights, intercept=0.0):
    """Return a direction with these weights of cells, whose means are 0."""
    return Direction(
        detector="quote",
        cells=tuple(weights),
        weights=tuple(weights.values()),
        means=(0.0,) * len(weights),
        deviations=tuple(0.1 * (1 + index) for index in range(len(weights))),
        intercept=intercept,
        is_yes_no=True,
        score=0.9,
        ci=(0.8, 1.0),
        cell_score=0.7,
        gain_ci=(0.1, 0.3),
        low=-0.2,
        high=0.2,
        num_chars=100,
    )


def outputs_of(direction, values):
    """Return the output (N,) of a direction from the values (k, N) of its cells."""
    return np.array(direction.weights) @ values + direction.intercept


@cache
def planted_text():
    """Characters of which a part is inside spans; the disturbances are independent of that."""
    generator = np.random.default_rng(0)
    text = []
    for turn in range(60):
        if turn % 2 == 0:
            # The next mark of each disturbance, and the one after it.
            marks = {"p": "pq", "r": "rs", "t": "tu"}
            text.append("z")
        for end, chars in (("a", 14 * " "), ("b", "cc")):
            for _ in range(3):
                name = str(generator.choice(["p", "r", "t"]))
                text.append(marks[name][0])
                marks[name] = marks[name][::-1]
                text += chars[: generator.integers(1, len(chars) + 1)]
            text.append(end)
    return as_text(
        np.array([MARKS.index(character) for character in text], np.uint16), 0, "".join(text)
    )


def plant():
    """An LSTM of perfect memories, whose cells 0 to 3 say only together whether a character is
    inside a span.

    The sum of their outputs is 0.2 inside and 0 outside; each by itself is disturbed by 0.2 or
    more. It is what makes c likely. Each of the other cells says whether the last character is a
    certain one of p to u.
    """
    network = CharRNN(
        Config(cell="lstm", num_layers=1, hidden_size=SIZE, embedding_size=11, dropout=0.0), 11
    )
    (layer,) = network.recurrent_layers()
    steps = np.zeros((11, SIZE))
    moves = {"ab": {0: 0.1, 3: 0.1}, "pq": {0: 0.2, 1: -0.2}, "rs": {1: 0.2, 2: -0.2}}
    moves["tu"] = {2: 0.2, 3: -0.2}
    for (on, off), cells in moves.items():
        for cell, change in cells.items():
            steps[MARKS.index(on), cell], steps[MARKS.index(off), cell] = change, -change
    for cell in range(4, SIZE):
        steps[2 + cell % 6, cell] = 0.2
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.embedding.weight.copy_(torch.eye(11))
        layer.bias("ih")[:] = 40  # all gates are open
        layer.bias("ih")[SIZE + 4 : 2 * SIZE] = -200  # but the forget gates of the other cells
        layer.weight("ih")[SIZE : SIZE + 4, MARKS.index("z")] = -80
        layer.bias("ih")[2 * SIZE : 3 * SIZE] = 0
        layer.weight("ih")[2 * SIZE : 3 * SIZE] = torch.from_numpy(np.arctanh(steps).T).float()
        network.output.weight[MARKS.index("c"), :4] = 15
    return network


def study_of(cache):
    network = plant()
    networks = {"network": lambda: network, "untrained_baseline": lambda: network}
    return ModelStudy(text=planted_text(), num_layers=1, num_units=SIZE, cache=cache, **networks)


@pytest.fixture
def study():
    return study_of(FindingsCache())


def test_a_planted_direction_is_found_and_better_than_any_cell(study):
    direction = study.direction(SPANS, 4)
    assert {unit for _, unit in direction.cells} == {0, 1, 2, 3}
    # The values are tanh of memories up to 0.4, so equal weights are not quite the best.
    assert max(direction.weights) == pytest.approx(min(direction.weights), rel=0.15)
    assert direction.cell_score < 0.85 < 0.99 < direction.score
    assert direction.gain_ci[0] > 0.1
    assert sum(map(abs, direction.shares)) == pytest.approx(1)


def test_the_output_of_a_direction_is_that_of_its_labels(study):
    direction = study.direction(SPANS, 4)
    outputs = outputs_of(direction, np.array(study.values(direction.cells)))
    labels = _inside(study.text.text)
    assert outputs[labels].mean() == pytest.approx(1, abs=0.15)
    assert outputs[~labels].mean() == pytest.approx(0, abs=0.15)
    assert direction.low == pytest.approx(np.percentile(outputs[study.half :], 2))


def test_a_direction_of_all_cells_is_as_good(study):
    assert study.direction(SPANS, None).score > 0.98


def test_a_direction_of_one_cell_is_the_best_cell(study):
    (score,) = study.findings([SPANS], untrained=False).scores
    single = study.direction(SPANS, 1)
    assert single.cells == ((score.layer, score.unit),)
    assert single.score == pytest.approx(score.auc)
    assert single.gain == pytest.approx(0)


def test_ablating_a_planted_direction_costs_inside(study, monkeypatch):
    monkeypatch.setattr("charrnn.model.reading.WARM_UP", 128)
    monkeypatch.setattr(directions, "CHARS_OF_DIRECTION", 400)
    direction = study.direction(SPANS, 4)
    with reports() as done:
        found = study.ablate_direction(direction, [SPANS])
    # Without a clamp, then with the direction.
    assert done["ablating"] == 2 * 400 < 2 * (len(study.text) - study.half)
    (effect,) = found.ablation.effects
    assert effect.change_inside > effect.ci_inside[0] > 0.2
    assert effect.change_outside < 0.1
    assert max(cell_len(line) for line in lines(Group(*found.view()), 80)) <= 80


@pytest.mark.parametrize("zoneout", [0.0, 0.3])
@pytest.mark.parametrize("cell", CELL_DESCRIPTIONS)
def test_a_clamped_sum_has_its_value_in_every_cell_type(cell, zoneout):
    network = make_network(cell, num_layers=2, zoneout=zoneout)
    config = make_config(cell, num_layers=2, zoneout=zoneout)
    weights = {(0, 1): 0.5, (1, 2): 1.0, (0, 5): -2.0, (1, 0): 0.3, (0, 3): 0.1}
    direction = make_direction(weights, intercept=0.2)
    stepper = Stepper(config, tensors_of(network.float()))
    shares = []
    for layer, clamped in direction.clamped_sums(0.7, stepper.cell).items():
        stepper.clamp_sum(layer, clamped)
        part = direction.part(layer)
        shares.append((clamped.value - part.mean) / part.variance)
    assert shares[0] == pytest.approx(shares[1]), (
        "each layer moves in proportion to the variance of its cells"
    )
    _, values = step_through(stepper, make_text(20).ids)
    cells = np.array([values[:, layer, unit] for layer, unit in direction.cells])
    found = outputs_of(direction, cells)
    assert found == pytest.approx(np.full(20, 0.7), abs=1e-5)  # float32 values


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_cells_that_reach_the_end_of_their_range_leave_the_rest_to_the_others(name):
    cell, is_gru = cell_type(name), name == "gru"
    limit = 1.0 if is_gru else CLAMP_LIMIT
    generator = np.random.default_rng(0)
    weights, moves = generator.normal(size=5), generator.random(5)
    start = generator.uniform(-0.9, 0.9, (200, 5)).astype(np.float32)
    memories = start if is_gru else np.arctanh(start)
    for share in (-0.999, -0.5, 0.0, 0.8, 0.999):
        value = share * limit * np.abs(weights).sum()
        clamped = ClampedSum(tuple(range(5)), tuple(weights), tuple(moves * weights), value)
        after = clamped.apply(cell, memories)
        values = after if is_gru else np.tanh(after)
        assert values @ weights == pytest.approx(np.full(200, value), abs=1e-9)
        assert np.abs(values).max() <= limit + 1e-9
        # Cells inside their range have moved by the same multiple, which is the smallest change in
        # units of moves.
        multiples = (values - start) / (moves * weights)
        is_free = np.abs(values) < limit - 1e-6
        for row, free in zip(multiples, is_free, strict=True):
            if free.any():
                assert np.ptp(row[free]) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("name, memory", [("gru", 1.0), ("lstm", 30.0)])
def test_what_need_not_move_is_left_as_it_is(name, memory):
    """Though tanh cannot tell a memory of 30 from an infinite one."""
    saturated = np.full((1, 2), memory, np.float32)
    clamped = ClampedSum((0, 1), (1.0, 1.0), (1.0, 1.0), 2.0)
    assert (clamped.apply(cell_type(name), saturated) == saturated).all()


def test_a_cell_follows_one_clamp():
    stepper = Stepper(make_config("gru"), tensors_of(make_network("gru")))
    stepper.clamp(0, 3, 0.5)
    clamped = ClampedSum((4, 5), (1.0, 1.0), (1.0, 1.0), 0.5)
    stepper.clamp_sum(0, clamped)
    for units, message in (
        ((2, 3), "Cell 0:3 is in two `clamps`"),
        ((4, 1), "Cell 0:4 is in two"),
        ((1, 8), "There is no cell 0:8"),
    ):
        with pytest.raises(UsageError, match=message):
            stepper.clamp_sum(0, replace(clamped, units=units))


@pytest.mark.parametrize(
    "cell, depth", [("gru", "stacked"), ("mlstm", "dilated"), ("unitary", "highway")]
)
def test_an_ablated_direction_costs_what_it_costs_one_step_after_the_other(cell, depth):
    network = make_network(cell, depth, num_layers=2, zoneout=0.1).float()
    config = make_config(cell, depth, num_layers=2, zoneout=0.1)
    direction = make_direction({(1, 5): 1.0, (0, 3): -0.5, (1, 0): 0.7})
    free = Stepper(config, tensors_of(network))
    held = Stepper(config, tensors_of(network))
    logprobs, values = step_through(free, TEXT.ids)
    for layer in (0, 1):
        held.clamp_sum(layer, sum_at_means(direction, layer, values.mean(axis=0)[layer]))
    changes = logprobs - step_through(held, TEXT.ids)[0]
    changes = np.take_along_axis(changes, TEXT.ids[1:].astype(np.int64)[:, None], axis=1)[:, 0]
    assert np.abs(changes).max() > 0.01
    found = ablate_sum(network, TEXT, LABELLINGS, direction).ablation
    # Both sides are float32, and add up their products in another order.
    assert found.change == pytest.approx(changes.mean(), abs=1e-4)
    inside = changes[label_quotes(TEXT.text)[:-1]].mean()
    assert found.effects[0].change_inside == pytest.approx(inside, abs=1e-4)


def test_a_direction_is_measured_once(monkeypatch):
    monkeypatch.setattr("charrnn.model.reading.WARM_UP", 128)
    monkeypatch.setattr(directions, "CHARS_OF_DIRECTION", 100)
    caches = [FindingsCache("same") for _ in range(2)]
    first = study_of(caches[0])
    direction = first.direction(SPANS, 3)
    found = first.ablate_direction(direction, [SPANS])
    again = replace(
        first, cache=caches[1], network=pytest.fail, untrained_baseline=pytest.fail
    )  # nothing is read
    assert (again.direction(SPANS, 3), again.ablate_direction(direction, [SPANS])) == (
        direction,
        found,
    )
    skipped = first.ablate_direction(direction, [SPANS, "url"]).skipped
    assert "url" in [one.detector for one in skipped]


def test_sizes_and_detectors_that_are_not_there_are_refused(study):
    with pytest.raises(UsageError, match="A direction of 9 cells: the model has 8"):
        study.direction(SPANS, 9)
    with pytest.raises(DataError, match="No direction for string: there are none in this text"):
        study.direction("string")
    named = Detector("a@b", "a or b", lambda text: None)
    for text, expected in (
        ("a@b", (named, NUM_CELLS)),
        ("a@b@7", (named, 7)),
        ("a@b@all", (named, None)),
    ):
        assert parse_direction("--clamp", text, [named]) == expected, (
            "the name of a pattern may contain an @"
        )


def test_a_direction_that_the_run_s_own_text_does_not_give_names_another_way(lab):
    model = charrnn.load(lab)
    expected = r"in this text\. It is the validation text of lstm-001\. Clamp a cell, such as 0:17,"
    with pytest.raises(DataError, match=expected) as raised:
        model.direction("url")
    assert "Give another" not in str(raised.value)
    model.recorded_corpus = None
    with pytest.raises(DataError, match=r"learned: clamp a cell, such as 0:17\."):
        model.direction("quote")


def test_a_clamped_direction_on_the_command_line_is_that_of_the_library(command, lab):
    options = ("sample", "--seed", 0, "--length", 60)
    model = charrnn.load(lab)
    direction = model.direction("quote", 2)
    ran = command(*options, "--clamp", "quote@2=low", "--quiet")
    # Several texts are drawn together, and each as if it were alone.
    expected = model.samples(
        3, seed=0, length=60, temperature=0.8, clamps={direction: direction.low}
    )[0].text
    assert (ran.code, ran.err, ran.out.rstrip("\n")) == (0, "", expected.rstrip("\n"))
    assert expected != model.sample(seed=0, length=60, temperature=0.8).text
    beyond = command("sample", "--clamp", "quote@2=99")
    assert beyond.code == 2
    assert beyond.notes.startswith("error: --clamp quote@2=99: with its cells")
