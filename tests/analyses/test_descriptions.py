"""Descriptions of cells: planted rules are found, chance is not described, scores are those of a
naive computation.

Tests `analyses.descriptions.conditions`, `analyses.descriptions.describing`,
`analyses.descriptions.results` and `analyses.descriptions.rules`, too.
"""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from charrnn.analyses.descriptions import _show, describing
from charrnn.analyses.descriptions.conditions import build_conditions
from charrnn.analyses.descriptions.describing import Fitter, describe_cells
from charrnn.analyses.descriptions.results import NUM_LISTED
from charrnn.analyses.descriptions.rules import (
    RuleSearch,
    fit_rising,
    rule_mask,
    standardized,
)
from charrnn.detectors.prose import label_capitals, label_line_position, label_quotes
from charrnn.errors import DataError
from charrnn.text.vocab import EncodedText

WORDS = [
    "the river ran",
    "a low door",
    "we said nothing",
    "Tom",
    "THE GREAT NORTH ROAD",
    "rain",
    "in May",
    "KEEP OUT",
]
ENDS = (", ", ". ", ".\n", "\n")


def as_text(text):
    return EncodedText(np.zeros(len(text), np.uint16), 0, text, "char")


def make_text(num_chars):
    """Make prose with lines, quotations and words in capitals, in and outside quotations."""
    generator = np.random.default_rng(0)
    text = ""
    while len(text) < num_chars:
        places = generator.integers(0, len(WORDS), generator.integers(1, 5))
        words = " ".join(WORDS[place] for place in places)
        end = ENDS[generator.integers(4)]
        if generator.random() < 0.4:
            words = f'"{words}"'
        text += words + end
    return as_text(text[:num_chars])


TEXT = make_text(5_000)
HALF = len(TEXT) // 2


def cells_of(*rows):
    """Return cells of one layer with these values."""
    return SimpleNamespace(values=np.array(rows, np.float16), num_units=len(rows))


def describe(*rows):
    return report_of(*rows).descriptions


def report_of(*rows):
    conditions = build_conditions(TEXT, len(TEXT) // 2)
    return describe_cells(cells_of(*rows), TEXT, conditions=conditions)


def test_the_same_characters_of_a_long_text_are_searched_each_time(monkeypatch):
    monkeypatch.setattr(describing, "CHARS_SEARCHED", 5)
    fitter = Fitter(build_conditions(TEXT, HALF))
    assert fitter.sample.tolist() == [674, 769, 1276, 1590, 2123]


def test_planted_rule_is_described_by_exactly_that_rule():
    inside = label_quotes(TEXT.text) & label_capitals(TEXT.text)
    noise = 0.2 * np.random.default_rng(0).normal(size=len(inside))
    high, low = describe(np.where(inside, 0.7, -0.1) + noise, np.where(inside, -0.7, 0.1) + noise)
    phrases = ("inside double quotation marks", "inside a word in capitals")
    assert high.explained
    assert high.text == f"high: {phrases[0]} and {phrases[1]}"
    assert low.explained
    assert low.conditions == phrases
    assert low.polarity == -1


def test_cell_that_falls_with_a_count_is_described_by_the_count():
    position = label_line_position(TEXT.text)
    noise = 0.05 * np.random.default_rng(0).normal(size=len(position))
    (found,) = describe(np.exp(-position / 15) + noise)
    assert found.explained
    assert found.text == "falls with line position"
    assert found.spearman < -0.7


def test_at_most_one_in_twenty_shuffled_cells_is_described():
    """Noise of a standard deviation of 1 with an autocorrelation of 1 to 1,000 characters."""
    generator = np.random.default_rng(1)
    inside = label_quotes(TEXT.text)
    position = label_line_position(TEXT.text)
    rows = []
    for number in range(100):
        width = 10 ** (number % 4)
        noise = generator.normal(size=len(inside) + width - 1)
        noise = np.convolve(noise, np.ones(width) / width**0.5, "valid")
        followed = 2.0 * inside if number % 2 == 0 else position / 10
        values = np.tanh((noise + followed) / 4)
        rows.append(np.roll(values, generator.integers(1_000, len(values) - 1_000)))
    assert report_of(*rows).num_explained <= 5


def test_a_constant_cell_says_so():
    (found,) = describe(np.full(len(TEXT), 0.3))
    assert (found.kind, found.explained, found.text) == ("none", False, "constant")


def test_a_text_too_short_is_an_error():
    message = "has 1,500 characters; describing cells needs at least 2,000"
    with pytest.raises(DataError, match=message):
        build_conditions(TEXT.part(0, 1_500), 750)


def test_search_finds_what_trying_every_rule_finds():
    generator = np.random.default_rng(2)
    flags = generator.random((6, 400)) < np.array([0.1, 0.3, 0.5, 0.6, 0.8, 0.4])[:, None]
    values = generator.normal(size=(5, 400)) + flags[:5] * np.roll(flags, 2, axis=0)[:5]
    # A beam that holds every rule makes the search complete.
    found = RuleSearch(flags, list("abcdef"), least=5, beam=10_000).search(values)
    for row, rules in zip(values, found, strict=True):
        for num_terms in (1, 2, 3):
            best = max(naive_r2(row, mask) for mask in all_masks(flags, num_terms, least=5))
            first = next(rule for rule in rules if len(rule) == num_terms)
            assert naive_r2(row, rule_mask(flags, first)) == pytest.approx(best, rel=1e-4)


def all_masks(flags, num_terms, least):
    """Yield where each conjunction of conditions and negations holds, if it holds, and fails, often
    enough."""
    for conditions in itertools.combinations(range(len(flags)), num_terms):
        for signs in itertools.product((True, False), repeat=num_terms):
            mask = rule_mask(flags, tuple(zip(conditions, signs, strict=True)))
            if least <= mask.sum() <= len(mask) - least:
                yield mask


def naive_r2(values, mask):
    return scored_r2(values, values, mask, mask)


def scored_r2(chosen, scored, chosen_mask, scored_mask):
    """R² of the two means of some values, for other values."""
    inside = chosen[chosen_mask].mean()
    outside = chosen[~chosen_mask].mean()
    errors = scored - np.where(scored_mask, inside, outside)
    return float(1 - (errors**2).sum() / ((scored - scored.mean()) ** 2).sum())


@pytest.fixture(scope="module")
def on_space():
    return np.array([character == " " for character in TEXT.text])


@pytest.fixture(scope="module")
def spaced(on_space):
    """The description of a cell that is high on spaces, and its values in float64."""
    noise = 0.2 * np.random.default_rng(4).normal(size=len(on_space))
    values = (0.5 * on_space + noise).astype(np.float16)
    (found,) = describe(values)
    assert found.conditions == ("on a space",)
    return found, values.astype(np.float64)


def test_scores_equal_a_naive_computation(spaced, on_space):
    found, values = spaced
    chosen, scored = values[:HALF], values[HALF:]
    chosen_mask, scored_mask = on_space[:HALF], on_space[HALF:]
    # Values are centred in single precision, which has seven digits.
    expected = scored_r2(chosen, scored, chosen_mask, scored_mask)
    assert found.score == pytest.approx(expected, abs=1e-5)
    assert found.chosen_on == pytest.approx(naive_r2(chosen, chosen_mask), abs=1e-5)


def test_the_auc_of_a_rule_counts_pairs(spaced, on_space):
    found, values = spaced
    scored, inside = values[HALF:], on_space[HALF:]
    high, low = scored[inside][:, None], scored[~inside]
    assert found.auc == pytest.approx(((high > low) + 0.5 * (high == low)).mean(), abs=1e-9)


def test_a_score_has_an_interval_and_a_control(spaced):
    found, _ = spaced
    assert found.ci_low < found.score < found.ci_high
    assert found.to_json()["selectivity"] == found.score - found.control > 0.4


@pytest.mark.parametrize(
    "control, shown",
    [
        (-0.25, "selectivity 0.750 (R² of control values -0.250)"),
        (0.25, "selectivity 0.250"),
    ],
)
def test_a_selectivity_above_the_score_says_why(spaced, control, shown):
    found = replace(spaced[0], score=0.5, control=control)
    [part] = found.parts()
    assert part.content[-1].endswith(shown)


@pytest.mark.parametrize(
    "top, suffix, num_rows",
    [(None, "", NUM_LISTED), (None, ".svg", NUM_LISTED + 1), (3, "", 3)],
)
def test_a_table_lists_some_cells_and_a_file_all(spaced, top, suffix, num_rows):
    report = describing.DescriptionReport(
        descriptions=(spaced[0],) * (NUM_LISTED + 1),
        num_chars=len(TEXT),
        num_conditions=1,
        control_level=0.0,
        level=0.1,
        share_of_variance=0.5,
    )
    options = SimpleNamespace(top=top, suffix=suffix)
    subject = SimpleNamespace(model=SimpleNamespace(name="run"), options=options)
    pictures = _show(subject, report).pictures
    assert sum(getattr(one, "row_count", 0) for one in pictures) == num_rows


def test_isotonic_fit_is_that_of_pooling_adjacent_groups():
    generator = np.random.default_rng(6)
    sizes = generator.integers(1, 9, 12).astype(np.float64)
    values = generator.normal(size=(4, 12)) + np.arange(12) / 6
    for row, means in zip(fit_rising(values * sizes, sizes), values, strict=True):
        assert row == pytest.approx(pooled(means, sizes))


def pooled(means, sizes):
    """The rising sequence by the pool-adjacent-violators algorithm."""
    pools = [[place] for place in range(len(means))]

    def mean(pool):
        return float(np.average(means[pool], weights=sizes[pool]))

    place = 0
    while place + 1 < len(pools):
        if mean(pools[place]) <= mean(pools[place + 1]):
            place += 1
        else:
            pools[place] += pools.pop(place + 1)
            place = max(0, place - 1)
    return np.concatenate([np.full(len(pool), mean(pool)) for pool in pools])


def test_conditions_describe_bytes_by_the_characters_they_belong_to():
    data = "Где же он? Дома, сказал он.\n".encode() * 200
    text = replace(as_text(data.decode("latin-1")), kind="byte")
    found = build_conditions(text, len(text) // 2)
    phrases = [one.phrase for one in found.conditions]
    assert found.flags[phrases.index("on a capital letter"), :3].tolist() == [True, True, False]
    assert found.flags[phrases.index("on a space"), 6:8].tolist() == [True, False]


def negations_of(text):
    """Return the negation of each condition of a text."""
    found = build_conditions(as_text(text), len(text) // 2)
    return {one.phrase: one.negation for one in found.conditions}


def test_characters_that_cannot_be_printed_have_names():
    negations = negations_of(("\tx = a\x01\r\nif\tb\r\n" * 200)[:3_000])
    assert negations["on a tab"] == "not on a tab"
    assert "on U+0001" in negations
    returns = "carriage return within the last 3 characters"
    assert negations[f"a {returns}"] == f"no {returns}"


def test_conditions_hold_often_enough_in_both_halves():
    phrases = negations_of("a e b " * 1_000 + "a e c " * 1_000)
    assert "on 'a'" in phrases
    assert not {"on 'b'", "on 'c'"} & phrases.keys()


def test_a_count_has_thresholds():
    found = build_conditions(TEXT, HALF, ["line-position"])
    position = label_line_position(TEXT.text)
    num_thresholds = 0
    for condition, flags in zip(found.conditions, found.flags, strict=True):
        name, sign, threshold = condition.phrase.partition(" ≥ ")
        if sign:
            num_thresholds += 1
            assert name == "line position"
            assert np.array_equal(flags, position >= int(threshold))
    assert num_thresholds > 0


def test_a_cell_that_hardly_moves_is_standardized_and_one_that_stands_still_is_zero():
    values = 1e-5 * np.array([[1.0, -1.0] * 2_000, [1e-3, -1e-3] * 2_000])
    assert (standardized(values) ** 2).sum(axis=1) == pytest.approx([1, 0], abs=1e-5)
