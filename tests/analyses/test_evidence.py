"""The evidence card: every number recomputed from the positions of the record by loops of plain
torch, and what is known of weights that were written by hand.

Tests `analyses.evidence.card`, `analyses.evidence.property_output`,
`analyses.evidence.readings` and `analyses.evidence.results`, too.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from built_runs import build_quoting
from conftest import as_json
from effects_networks import ARCHITECTURES, CHARACTERS, H, make_network, make_text
from known_weights import QUOTING_UNIT, quoting_text

import charrnn
from charrnn.analyses import evidence as package
from charrnn.analyses.evidence import card as card_module
from charrnn.analyses.evidence import plan as plan_module
from charrnn.analyses.evidence.property_output import (
    choose_output,
    resample_differences,
    signs_of,
)
from charrnn.analyses.evidence.readings import (
    read_batch,
    read_clamped,
    read_freely,
)
from charrnn.analyses.evidence.results import carrying
from charrnn.analyses.ranking import ranking
from charrnn.cells.records import CellScore
from charrnn.cells.study import Study
from charrnn.cells.target_labels import choose_targets
from charrnn.cells.trace import states_of_text
from charrnn.commands import visualize
from charrnn.detectors.prose import label_quotes
from charrnn.detectors.registry import get_detectors
from charrnn.errors import DataError, UsageError
from charrnn.runs.measurement_cache import MeasurementCache
from charrnn.statistics.intervals import draw_counts, percentiles
from charrnn.text.vocab import EncodedText, Vocab

pytestmark = pytest.mark.usefixtures("few_samples")
CELL = (0, 2)


def quoted_text(num_chars):
    """A text of the characters of `make_network` with many quotations."""
    generator = np.random.default_rng(1)
    text = ""
    while len(text) < num_chars:
        inside = "".join(generator.choice([*"abce"], 40))
        outside = "".join(generator.choice([*"abce\n"], 40))
        text += f'"{inside}"{outside}'
    ids = np.array([CHARACTERS.index(character) for character in text[:num_chars]], np.uint16)
    return EncodedText(ids, 0, text[:num_chars], Vocab("char", tuple(CHARACTERS)))


class Naive:
    """An LSTM of one layer, one character at a time, with plain torch."""

    def __init__(self, network, text):
        self.weights = network.state_dict()
        self.ids = text.ids.tolist()
        self.states = [(torch.zeros(H).double(), torch.zeros(H).double())]
        self.memories, self.values, self.odds = [], [], []
        for position in range(len(self.ids)):
            state, odds, _ = self.step(position, self.states[-1])
            self.states.append(state)
            self.memories.append(state[1])
            self.values.append(float(state[1][CELL[1]].tanh()))
            self.odds.append(odds)

    def step(self, position, state, change=lambda memory: memory):
        """The state after a character, the odds of a quotation mark, and the loss of the next."""
        h, c = state
        gates = self.weights["layers.0.bias_ih_l0"] + self.weights["layers.0.bias_hh_l0"]
        x = self.weights["embedding.weight"][self.ids[position]]
        gates = gates + self.weights["layers.0.weight_ih_l0"] @ x
        i, f, g, o = (gates + self.weights["layers.0.weight_hh_l0"] @ h).chunk(4)
        c = change(f.sigmoid() * c + i.sigmoid() * g.tanh())
        h = o.sigmoid() * c.tanh()
        logits = self.weights["output.weight"] @ h + self.weights["output.bias"]
        mark = CHARACTERS.index('"')
        others = [id for id in range(len(CHARACTERS)) if id != mark]
        odds = float(logits[mark] - logits[others].logsumexp(0))
        loss = 0.0
        if position + 1 < len(self.ids):
            loss = -float(logits.log_softmax(0)[self.ids[position + 1]])
        return (h, c), odds, loss

    def held(self, begin, units, length, skipped, means):
        """Losses and odds after each measured character while units are held at their means."""

        def change(memory):
            memory = memory.clone()
            memory[units] = means[units]
            return memory

        return self.changed(begin, change, length, skipped)

    def changed(self, begin, change, length, skipped):
        """Losses and odds after each measured character while the memories are changed."""
        state, losses, odds = self.states[begin], [], []
        for position in range(begin, begin + length):
            state, odd, loss = self.step(position, state, change)
            losses.append(loss)
            odds.append(odd)
        return losses[skipped:], odds[skipped:]

    def exchanged(self, position, other, lag, unit=CELL[1]):
        """The odds at a position if the memory was that of another one `lag` characters before."""

        def change(memory):
            memory = memory.clone()
            memory[unit] = self.memories[other - lag][unit]
            return memory

        state, odds, _ = self.step(position - lag, self.states[position - lag], change)
        for place in range(position - lag + 1, position + 1):
            state, odds, _ = self.step(place, state)
        return odds


def difference(odds, signs, codes):
    """How much higher odds (n,) are inside than outside, of a text that is one block."""
    blocks, draws = np.zeros(len(codes), int), np.ones((1, 1))
    (found,) = resample_differences(
        odds[None], signs=signs, codes=codes, blocks=blocks, draws=draws
    )
    return float(found[0])


@pytest.fixture(scope="module")
def measured():
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_module, "NUM_CLAMPED_SEGMENTS", 6)
        patch.setattr(plan_module, "NUM_PAIRS", 60)
        patch.setattr(plan_module, "NUM_PAIRS_CHOOSING", 60)
        patch.setattr(card_module, "NUM_OTHERS", 4)
        patch.setattr("charrnn.model.reading.MAX_LANES", 1)
        network, text = make_network("lstm", num_layers=1, scale=0.6), quoted_text(3_000)
        study = Study(
            text=text,
            num_layers=1,
            num_units=H,
            network=lambda: network,
            untrained_baseline=lambda: make_network("lstm", num_layers=1),
            cache=MeasurementCache(),
        )
        card = package.evidence(study, *CELL, detector="quote")
        return card, Naive(network, text), label_quotes(text.text)


def test_the_rise_of_the_loss_is_that_of_a_loop(measured):
    card, naive, labels = measured
    half = len(labels) // 2
    means = torch.stack(naive.memories[:half]).mean(0)
    rises, sides = [], []
    for begin in card.necessary.windows:
        held, _ = naive.held(begin, [CELL[1]], 256, 64, means)
        free, _ = naive.held(begin, [], 256, 64, means)
        rises += (np.array(held) - free).tolist()
        sides += labels[begin + 64 : begin + 256].tolist()
    rises, sides = np.array(rises), np.array(sides)
    # The state is warmed up on 512 characters, and forgets what was before.
    assert card.necessary.inside == pytest.approx(rises[sides].mean(), abs=1e-7)
    assert card.necessary.outside == pytest.approx(rises[~sides].mean(), abs=1e-7)


def rise_inside(card, naive, labels, change):
    """The rise of the loss inside, over the windows of a card, while the memories are changed."""
    rises = []
    for begin in card.necessary.windows:
        changed, _ = naive.changed(begin, change, 256, 64)
        free, _ = naive.changed(begin, lambda memory: memory, 256, 64)
        inside = labels[begin + 64 : begin + 256]
        rises += (np.array(changed) - free)[inside].tolist()
    return np.mean(rises)


@pytest.mark.slow
def test_other_cells_and_random_directions_are_held_by_a_loop(measured):
    card, naive, labels = measured
    memories = torch.stack(naive.memories[: len(labels) // 2])
    means, deviations = memories.mean(0), memories.std(0, correction=0)
    generator = np.random.default_rng(0)
    others = generator.permutation(np.delete(np.arange(H), CELL[1]))[:4]

    of_cells = []
    for unit in others.tolist():
        keep = torch.arange(H) != unit
        held = rise_inside(card, naive, labels, lambda memory, k=keep: memory.where(k, means))
        of_cells.append(held)
    assert card.necessary.cells == pytest.approx(of_cells, abs=1e-6)

    of_directions = []
    correlations = np.corrcoef(memories.T)
    for drawn in generator.normal(size=(4, H)):
        # Stretched so that what is taken away along it varies by 1.
        direction = drawn / np.linalg.norm(drawn)
        direction = torch.tensor(direction / (direction @ correlations @ direction) ** 0.25)

        def change(memory, direction=direction):
            along = ((memory - means) / deviations) @ direction
            return memory - along * direction * deviations

        of_directions.append(rise_inside(card, naive, labels, change))
    # Their correlations are sums of products in single precision.
    assert card.necessary.directions == pytest.approx(of_directions, abs=1e-6)


def test_the_kept_share_is_that_of_a_loop(measured):
    card, naive, labels = measured
    means = torch.stack(naive.memories[: len(labels) // 2]).mean(0)
    sides = signs_of(labels)
    followers = [unit for _, unit in card.sufficient.followers]
    after = [CHARACTERS.index(character) for character in card.output_after]

    def effect(held):
        odds, places = [], []
        for begin in card.sufficient.windows:
            odds += naive.held(begin, held, 256, 64, means)[1]
            places += range(begin + 64, begin + 256)
        ids = np.array(naive.ids)[places]
        shown = np.isin(ids, after)
        return card.output_sign * difference(
            np.array(odds)[shown], sides[places][shown], ids[shown]
        )

    whole = effect([])
    assert followers[0] == CELL[1]
    assert card.sufficient.effect == pytest.approx(whole, abs=1e-7)
    assert card.sufficient.ci[0] <= whole <= card.sufficient.ci[1]
    for num_kept, share in card.sufficient.curve:
        expected = effect(followers[num_kept:]) / whole if whole > 0 else 0.0
        assert share == pytest.approx(expected, abs=1e-6)


def test_the_exchanges_are_those_of_a_loop(measured):
    card, naive, *_ = measured
    found = card.interchange
    moved = []
    for inside, outside in found.pairs:
        before = [card.output_sign * naive.odds[place] for place in (inside, outside)]
        if before[0] > before[1]:
            middle = sum(before) / 2
            after = naive.exchanged(inside, outside, found.lag)
            moved.append(card.output_sign * after < middle)
            after = naive.exchanged(outside, inside, found.lag)
            moved.append(card.output_sign * after > middle)
    assert len(moved) == 2 * found.num_pairs > 20
    assert found.accuracy == pytest.approx(np.mean(moved))


def test_the_chance_of_exchanges_is_that_of_a_loop(measured):
    card, naive, *_ = measured
    found = card.interchange
    pairs = np.array(found.pairs)
    places, partners = pairs.T.ravel(), pairs.T[::-1].ravel()
    # A position of equal label: that of the pair before, on the same side.
    equal = np.roll(pairs, 1, axis=0).T.ravel()
    drawn = np.random.default_rng(0).integers(H - 1, size=len(places))
    drawn[drawn >= CELL[1]] += 1
    of_own, of_others, of_equal, blocks = [], [], [], []
    # Blocks of 100 characters of the scoring half, which has 1,500.
    for place, partner, same, unit in zip(places, partners, equal, drawn, strict=True):
        before = card.output_sign * naive.odds[place]
        other = card.output_sign * naive.odds[partner]
        side = 1 if place in pairs[:, 0] else -1
        if side * before > side * other:
            blocks.append((place - 1500) // 100)
            for moved, taken, changed in (
                (of_own, partner, CELL[1]),
                (of_others, partner, unit),
                (of_equal, same, CELL[1]),
            ):
                after = card.output_sign * naive.exchanged(place, taken, found.lag, changed)
                moved.append(side * after < side * (before + other) / 2)
    assert found.other_cells == pytest.approx(np.mean(of_others))
    assert found.equal_labels == pytest.approx(np.mean(of_equal))
    assert found.above_other_cells == interval_of_difference(of_own, of_others, blocks)
    assert found.above_equal_labels == interval_of_difference(of_own, of_equal, blocks)


def interval_of_difference(moved, by_chance, blocks):
    """The interval of the difference of two means, by resampling blocks in a loop."""
    by_block = {}
    for block, own, other in zip(blocks, moved, by_chance, strict=True):
        by_block.setdefault(block, []).append(float(own) - float(other))
    groups = [by_block[block] for block in sorted(by_block)]
    means = []
    for drawn in draw_counts(len(groups)).tolist():
        taken = [group * int(times) for group, times in zip(groups, drawn, strict=True)]
        means.append(np.concatenate(taken).mean())
    return pytest.approx(percentiles(np.array(means), len(groups)), abs=1e-8)


def test_the_mistakes_are_those_of_a_threshold(measured):
    card, naive, labels = measured
    values, half = np.array(naive.values), len(labels) // 2
    shown = np.isin(naive.ids, [CHARACTERS.index(one) for one in card.output_after])
    first = np.arange(len(labels)) < half
    inside, outside = values[first & shown & labels].mean(), values[first & shown & ~labels].mean()
    middle = (inside + outside) / 2
    wrong = shown & ~first & ((values > middle) != (labels == (inside > outside)))
    assert card.fooled.threshold == pytest.approx(middle, abs=1e-7)
    assert (card.fooled.num_places, card.fooled.num_wrong) == ((shown & ~first).sum(), wrong.sum())


@pytest.fixture(scope="module")
def quoting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quoting")
    corpus = folder / "quotes.txt"
    corpus.write_text(quoting_text(20_000), encoding="utf-8")
    return charrnn.load(build_quoting(folder / "quoting", corpus))


@pytest.fixture(scope="module")
def study(quoting):
    """A study of the model, which reads the text once for all tests that take it."""
    return quoting.study(quoting_text(12_000, seed=1))


@pytest.fixture(scope="module")
def short_study(quoting):
    return quoting.study(quoting_text(2_000, seed=1))


def test_the_unit_that_was_made_for_quotations_carries_them(study, monkeypatch):
    monkeypatch.setattr(plan_module, "NUM_CLAMPED_SEGMENTS", 40)
    card = package.evidence(study, detector="quote")
    assert (card.layer, card.unit) == (0, QUOTING_UNIT)
    assert card.necessary.rank == 1
    assert card.sufficient.num_carrying == 1
    # Its words have other letters inside: nothing that both sides read shows the property.
    assert card.interchange is None


def test_a_verdict_names_the_tests_that_failed(measured):
    card = measured[0]
    necessary = replace(
        card.necessary, inside=0.1, ci_inside=(0.05, 0.15), rank=1, rank_among_directions=1
    )
    sufficient = replace(card.sufficient, curve=((0, 0.1), (2, 0.95)), num_carrying=2)
    interchange = replace(
        card.interchange, above_other_cells=(0.7, 0.9), above_equal_labels=(0.6, 0.8)
    )
    tracks = replace(card.tracks, auc=0.9, null_level=0.6, p_value=None)
    good = replace(
        card,
        tracks=tracks,
        necessary=necessary,
        sufficient=sufficient,
        interchange=interchange,
    )
    assert good.verdict == "the claim holds: all 4 tests passed"
    for changes, verdict in (
        ({"tracks": replace(tracks, auc=0.55)}, "does not hold: it fails tracks"),
        ({"necessary": replace(necessary, rank=2)}, "does not hold: it fails necessary"),
        (
            {"necessary": replace(necessary, rank_among_directions=2)},
            "does not hold: it fails necessary",
        ),
        (
            {"necessary": replace(necessary, ci_inside=(-0.01, 0.2))},
            "does not hold: it fails necessary",
        ),
        (
            {"necessary": replace(necessary, ci_inside=None)},
            "holds: all 3 tests passed; not measured: necessary",
        ),
        ({"sufficient": replace(sufficient, num_carrying=0)}, "not hold: it fails sufficient"),
        (
            {"sufficient": replace(sufficient, curve=(), num_carrying=None)},
            "holds: all 3 tests passed; not measured: sufficient",
        ),
        (
            {"interchange": replace(interchange, above_other_cells=(0.0, 0.9))},
            "not hold: it fails interchangeable",
        ),
        (
            {"interchange": replace(interchange, above_equal_labels=(-0.1, 0.8))},
            "not hold: it fails interchangeable",
        ),
        (
            {"interchange": replace(interchange, above_equal_labels=None)},
            "holds: all 3 tests passed; not measured: interchangeable",
        ),
        ({"interchange": None}, "holds: all 3 tests passed; not measured: interchangeable"),
        (
            {"necessary": replace(necessary, ci_inside=None, rank=2)},
            "does not hold: it fails necessary",
        ),
        (
            {"necessary": replace(necessary, ci_inside=None), "interchange": None},
            "not decided: 2 of 4 tests passed; not measured: necessary, interchangeable",
        ),
    ):
        assert replace(good, **changes).verdict.endswith(verdict)


@pytest.mark.parametrize(
    "shares, num_free",
    [
        ((0.1, 0.5, 0.95), 2),
        ((0.1, 1.44, 1.0), 2),  # far above 100 % is no pass
        ((-5.85, -5.88, 0.09, 2.43), None),
        ((1.44, 1.0), 0),  # more than the effect remains without any follower
    ],
)
def test_a_share_from_90_to_120_percent_is_carried(shares, num_free):
    assert carrying(list(enumerate(shares))) == num_free


def test_nothing_is_said_of_the_shares_of_an_effect_that_may_be_0(measured):
    sufficient = replace(
        measured[0].sufficient, effect=0.186, ci=(-0.2, 0.6), curve=(), num_carrying=None
    )
    card = replace(measured[0], sufficient=sufficient)
    assert card.tests()["sufficient"] is None
    assert card.lines()["sufficient"].startswith(
        "not measured: effect +0.19 (-0.20…+0.60) log odds at "
    )
    assert "%" not in card.lines()["sufficient"]


def test_the_line_of_exchanges_says_percentage_points(measured):
    interchange = replace(
        measured[0].interchange,
        accuracy=0.965,
        other_cells=0.001,
        equal_labels=0.019,
        above_other_cells=(0.932, 0.991),
        above_equal_labels=(0.907, 0.981),
        num_pairs=961,
        lag=8,
    )
    card = replace(measured[0], interchange=interchange)
    assert card.lines()["interchangeable"] == (
        "with the memory of the other place, taken 8 characters before, the output is nearer to"
        " that of the other place than to its own in 96.5% of 961 pairs: 93.2…99.1 percentage"
        " points more than with the memory of another cell (0.1%), and 90.7…98.1 more than with"
        " that of a place with the same label (1.9%)"
    )


@pytest.mark.slow
def test_every_result_names_its_own_detector_where_another_gives_the_same_labels(short_study):
    """Results are kept by what they depend on, and that includes every name that they show."""
    study = short_study
    quote = get_detectors(["quote"])[0]
    for name, looks_for in (("first", "one"), ("second", "one"), ("second", "two")):
        detector = replace(quote, name=name, looks_for=looks_for)
        card = package.evidence(study, 0, QUOTING_UNIT, detector=detector)
        assert (card.detector, card.looks_for) == (name, looks_for)
        assert study.findings([detector]).scores[0].detector == name
        assert study.page(0, QUOTING_UNIT, [detector]).scores[0].detector == name
        assert set(ranking(study, [detector])) == {name}
        assert {score.detector for score in ranking(study, [detector])[name]} == {name}


def test_the_score_of_a_cell_that_is_not_the_best_has_an_interval(study):
    tracks = package.evidence(study, 0, 1, detector="quote").tracks
    assert tracks.ci_low < tracks.auc < tracks.ci_high


def test_the_effects_of_resamples_are_those_of_a_loop():
    generator = np.random.default_rng(0)
    odds = generator.normal(size=(1, 400))
    signs = generator.choice([-1, 1], size=400).astype(np.int8)
    codes = generator.integers(0, 2, size=400)
    blocks = np.arange(400) // 20
    draws = draw_counts(20)[:5]
    found = resample_differences(odds, signs=signs, codes=codes, blocks=blocks, draws=draws)
    for drawn, value in zip(draws, found[0], strict=True):
        times = drawn[blocks]
        gaps, weights = [], []
        for code in (0, 1):
            sides = [(codes == code) & (signs == sign) for sign in (1, -1)]
            means = [np.average(odds[0, side], weights=times[side]) for side in sides]
            gaps.append(means[0] - means[1])
            weights.append(min(map(np.sum, sides)))
        assert value == pytest.approx(np.average(gaps, weights=weights))


def test_a_segment_is_as_long_as_the_shortest_that_is_used():
    # Documents of 18 characters. A quarter of the half is 100, and 100, 50, 25, 12 would follow.
    network = make_network("lstm", num_layers=1, documents="lines")
    ids = np.tile(np.array([network.end_id, *[2, 3, 4] * 6], np.uint16), 43)[:800]
    everywhere = np.ones(len(ids), bool)
    known = plan_module.KnownPlaces(everywhere, is_end=ids == network.end_id)
    assert plan_module.choose_segment_length(known, half=400) == plan_module.MIN_SEGMENT
    # Documents of 15 characters.
    ids = np.tile(np.array([network.end_id, *[2, 3, 4] * 5], np.uint16), 50)
    known = plan_module.KnownPlaces(everywhere, is_end=ids == network.end_id)
    with pytest.raises(DataError, match="too short for evidence: give a `text` with 17"):
        plan_module.choose_segment_length(known, half=400)


def test_a_card_is_json_with_its_assumptions(study):
    card = package.evidence(study, 0, 1, detector="quote")
    found = json.loads(json.dumps(card.to_json()))
    assert "is refuted by" in found["assumptions"]
    assert str(card).splitlines()[-1] == f"verdict: {card.verdict}"
    with pytest.raises(UsageError, match=r"^There is no cell 0:999: "):
        package.evidence(study, 0, 999, detector="quote")
    with pytest.raises(UsageError, match="Cell 0:0 follows no property best: choose one"):
        package.evidence(study, 0, 0)


@pytest.mark.parametrize("half", [{"layer": 0}, {"unit": 1}, {"layer": 99}])
def test_half_of_a_cell_is_no_cell(study, half):
    with pytest.raises(UsageError, match="only one of `layer` and `unit` is"):
        package.evidence(study, **half)


@pytest.mark.parametrize(
    "cell, depth",
    [
        ARCHITECTURES[0],
        *(pytest.param(*one, marks=pytest.mark.slow) for one in ARCHITECTURES[3::3]),
    ],
)
@torch.no_grad()
def test_nothing_held_and_nothing_exchanged_is_the_free_network(cell, depth):
    """Of every cell type and depth, beside an exchange that changes something."""
    network, text = make_network(cell, depth, zoneout=0.1), make_text(300)
    output = choose_output(text.ids.astype(int), signs_of(label_quotes(text.text)), [3])
    begins = np.array([160, 200])
    reading = read_freely(
        network,
        text,
        begins=np.array([0, 150]),
        length=150,
        half=150,
        cell=(1, 2),
        output=output,
        wanted=begins,
        known=states_of_text(network, text),
    )
    held = torch.zeros(2, 3, H, dtype=torch.bool)
    held[1] = True
    odds, places = read_clamped(
        reading,
        begins=begins,
        length=20,
        num_skipped=2,
        is_clamped=held,
        output=output,
    )
    assert places.tolist() == [*range(162, 180), *range(202, 220)]
    assert odds[0] == pytest.approx(reading.odds[places], abs=1e-9)
    assert np.abs(odds[1] - odds[0]).max() > 1e-6
    batch = read_batch(reading, begins[None] + 4, lag=4)
    assert batch.outputs == pytest.approx(reading.odds[begins + 4], abs=1e-9)
    swapped = np.array([1, 0])
    assert batch.patched(np.arange(2), held[1:]) == pytest.approx(batch.outputs, abs=1e-9)
    assert np.abs(batch.patched(swapped, held[1:]) - batch.outputs).max() > 1e-6


def test_the_output_is_the_character_that_differs_most_between_the_sides():
    ids = np.array([0, 0, 1] * 1000 + [0, 0, 2] * 1000)
    sides = np.repeat([1, -1], 3000).astype(np.int8)
    output = choose_output(ids, sides, [])
    assert output.ids.tolist() in ([1], [2])
    assert output.after.tolist() == [0]
    assert choose_output(ids, sides, [2]).sign == -1


def test_a_count_has_a_low_and_a_high_side():
    assert signs_of(np.arange(11)).tolist() == [-1] * 3 + [0] * 5 + [1] * 3


@pytest.mark.slow
def test_nothing_of_the_scoring_half_chooses(short_study):
    """Neither the followers nor the thresholds change with what the network does there."""
    study = short_study
    detector = get_detectors(["quote"])[0]
    [target] = choose_targets(study.text.text, [detector]).targets
    (measured,) = study.measure([target])
    plan = plan_module.choose(study, target=target, cell=(0, QUOTING_UNIT), detector=detector)
    reading = card_module.read_plan(study, plan)
    values = reading.values.copy()
    values[target.half :] = 1e6
    spoiled = replace(reading, values=values, odds=values)

    where = plan.shows_property
    found = card_module.choose_threshold(plan, reading.values, where)
    assert card_module.choose_threshold(plan, values, where) == found
    followers = card_module.choose_followers(plan, reading, measured)
    assert card_module.choose_followers(plan, spoiled, measured) == followers


def test_the_command_names_what_the_cell_of_a_card_follows_more(
    quoting, command, measured, monkeypatch
):
    find = ("visualize", quoting.path, "--find", "--detector", "quote", "--json")
    (found,) = as_json(command(*find))["findings"]
    score = CellScore(**found)
    cell = f"{score.layer}:{score.unit}"
    named = f"{cell} follows quote more strongly: --evidence {cell} --detector quote"
    card = replace(measured[0], layer=score.layer, unit=score.unit)

    def printed(tracks, *options):
        of_claim = replace(card, tracks=tracks)
        monkeypatch.setattr(visualize, "evidence", lambda *_, **__: of_claim)
        ran = command("visualize", quoting.path, "--evidence", cell, *options)
        return " ".join(ran.out.split())

    weaker = replace(score, detector="digit", auc=0.6)
    assert printed(weaker).endswith(named)
    assert "more strongly" not in printed(score)
    # Who names a detector has asked about it.
    assert "more strongly" not in printed(weaker, "--detector", "digit")


@pytest.mark.slow
def test_a_card_says_at_how_many_places_the_cell_carries_most_when_it_is_asked(
    quoting, short_study
):
    card = quoting.evidence(short_study, 0, QUOTING_UNIT, "quote")
    assert card.carries is None and "carries" not in card.lines()
    places = quoting.why_places(short_study.text.text, "x", num_places=20)
    asked = card.with_places(places)
    carries = asked.carries
    assert carries.num_most == carries.num_places == 20 - places.num_without > 0
    assert f"at {carries.num_most} of {carries.num_places} places where 'x'" in str(asked)
    assert (asked.tests(), asked.verdict) == (card.tests(), card.verdict)

    # Any other unit carries nothing, and a cell that the output layer does not read cannot.
    other = replace(card, unit=0).with_places(places)
    assert (other.carries.num_most, other.carries.share) == (0, None)
    assert "at 0 of" in other.lines()["carries"]
    for changes in ({"are_units": False}, {"layers": (1,)}):
        unread = card.with_places(replace(places, **changes))
        assert "not measured" in unread.lines()["carries"]


@pytest.mark.slow
def test_the_command_asks_a_card_by_why(quoting, command):
    line = ("visualize", quoting.path, "--evidence", "0:5", "--detector", "quote", "--json")
    without = as_json(command(*line))
    found = as_json(command(*line, "--why", "x"))
    assert without.pop("carries") is None
    carries = found.pop("carries")
    assert carries["character"] == "x" and carries["num_most"] > 0
    assert found == without
