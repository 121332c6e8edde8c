"""Descriptions of cells: planted rules are found, chance is not described, scores are those of a
naive computation."""

import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from charrnn.analyses.descriptions import _show, describing
from charrnn.analyses.descriptions.conditions import build_conditions
from charrnn.analyses.descriptions.describing import Fitter, describe_cells
from charrnn.analyses.descriptions.results import NUM_LISTED
from charrnn.analyses.descriptions.rules import RuleSearch, fit_rising, rule_mask, standardized
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


def make_text(num_chars: int, seed: int = 0) -> EncodedText:
    """Make prose with lines, quotations and words in capitals, in and outside quotations."""
    generator = np.random.default_rng(seed)
    parts: list[str] = []
    size = 0
    while size < num_chars:
        words = " ".join(
            WORDS[index] for index in generator.integers(0, len(WORDS), generator.integers(1, 5))
        )
        end = (", ", ". ", ".\n", "\n")[generator.integers(4)]
        parts.append((f'"{words}"' if generator.random() < 0.4 else words) + end)
        size += len(parts[-1])
    text = "".join(parts)[:num_chars]
    return EncodedText(
        np.frombuffer(text.encode("ascii"), np.uint8).astype(np.uint16), 0, text, "char"
    )


def cells_of(*rows: np.ndarray) -> SimpleNamespace:
    """Return cells of one layer with these values."""
    return SimpleNamespace(values=np.array(rows, np.float16), num_units=len(rows))


TEXT = make_text(5_000)


def test_the_same_characters_of_a_long_text_are_searched_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(describing, "CHARS_SEARCHED", 5)
    assert Fitter(build_conditions(TEXT, len(TEXT) // 2)).sample.tolist() == [
        674,
        769,
        1276,
        1590,
        2123,
    ]


def test_planted_rule_is_described_by_exactly_that_rule() -> None:
    generator = np.random.default_rng(0)
    inside = label_quotes(TEXT.text) & label_capitals(TEXT.text)
    noise = 0.2 * generator.normal(size=len(inside))
    high, low = np.where(inside, 0.7, -0.1) + noise, np.where(inside, -0.7, 0.1) + noise
    report = describe_cells(cells_of(high, low), TEXT)
    phrases = ("inside double quotation marks", "inside a word in capitals")
    assert [one.conditions for one in report.descriptions] == [phrases, phrases]
    assert [one.polarity for one in report.descriptions] == [1, -1]
    assert all(one.explained for one in report.descriptions)
    assert (
        report.descriptions[0].text
        == "high: inside double quotation marks and inside a word in capitals"
    )


def test_cell_that_falls_with_a_count_is_described_by_the_count() -> None:
    position = label_line_position(TEXT.text)
    values = np.exp(-position / 15) + 0.05 * np.random.default_rng(0).normal(size=len(position))
    (found,) = describe_cells(cells_of(values), TEXT).descriptions
    assert (found.kind, found.conditions, found.polarity) == (
        "count",
        ("line position",),
        -1,
    ) and found.explained
    assert found.spearman is not None and found.spearman < -0.7


def test_at_most_one_in_twenty_shuffled_cells_is_described() -> None:
    generator = np.random.default_rng(1)
    inside = label_quotes(TEXT.text)
    position = label_line_position(TEXT.text)
    rows = []
    for number in range(100):
        width = (1, 10, 100, 1000)[
            number % 4
        ]  # of the autocorrelation of the noise, whose standard deviation is 1
        noise = generator.normal(size=len(inside) + width - 1)
        noise = np.convolve(noise, np.ones(width) / width**0.5, "valid")
        followed = (np.where(inside, 2.0, 0.0), position / 10.0)[number % 2]
        values = np.tanh((noise + followed) / 4)
        rows.append(np.roll(values, generator.integers(1_000, len(values) - 1_000)))
    assert describe_cells(cells_of(*rows), TEXT).num_explained <= 5


def test_constant_cell_says_so_and_a_text_too_short_is_an_error() -> None:
    (found,) = describe_cells(cells_of(np.full(2_000, 0.3)), TEXT.part(0, 2_000)).descriptions
    assert (found.kind, found.explained, found.text) == ("none", False, "constant")
    with pytest.raises(
        DataError, match=r"has 1,500 characters; describing cells needs at least 2,000"
    ):
        describe_cells(cells_of(np.zeros(1_500)), TEXT.part(0, 1_500))


def test_search_finds_what_trying_every_rule_finds() -> None:
    generator = np.random.default_rng(2)
    flags = generator.random((6, 400)) < np.array([0.1, 0.3, 0.5, 0.6, 0.8, 0.4])[:, None]
    values = generator.normal(size=(5, 400)) + flags[:5] * np.roll(flags, 2, axis=0)[:5]
    # A beam that holds every rule makes the search complete.
    found = RuleSearch(flags, list("abcdef"), least=5, beam=10_000).search(values)
    for row, rules in zip(values, found, strict=True):
        for num_terms in (1, 2, 3):
            best = max(
                naive_r2(row, rule_mask(flags, rule))
                for rule in all_rules(6, num_terms, flags, least=5)
            )
            reached = naive_r2(
                row, rule_mask(flags, next(rule for rule in rules if len(rule) == num_terms))
            )
            assert reached == pytest.approx(best, rel=1e-4)


def all_rules(num_conditions: int, num_terms: int, flags: np.ndarray, least: int):
    """Yield every conjunction of some conditions and negations that holds, and fails, often
    enough."""
    for conditions in itertools.combinations(range(num_conditions), num_terms):
        for signs in itertools.product((True, False), repeat=num_terms):
            rule = tuple(zip(conditions, signs, strict=True))
            if least <= rule_mask(flags, rule).sum() <= flags.shape[1] - least:
                yield rule


def naive_r2(values: np.ndarray, mask: np.ndarray) -> float:
    predicted = np.where(mask, values[mask].mean(), values[~mask].mean())
    return float(1 - ((values - predicted) ** 2).sum() / ((values - values.mean()) ** 2).sum())


def test_scores_equal_a_naive_computation() -> None:
    generator = np.random.default_rng(4)
    half = len(TEXT) // 2
    conditions = build_conditions(TEXT, half)
    on_space = next(
        place for place, one in enumerate(conditions.conditions) if one.phrase == "on a space"
    )
    mask = conditions.flags[on_space]
    values = (np.where(mask, 0.5, 0.0) + 0.2 * generator.normal(size=len(mask))).astype(np.float16)
    (found,) = describe_cells(cells_of(values), TEXT).descriptions
    assert found.conditions == ("on a space",)
    exact = values.astype(np.float64)
    chosen, scored, inside = exact[:half], exact[half:], mask[half:]
    means = chosen[mask[:half]].mean(), chosen[~mask[:half]].mean()
    errors = scored - np.where(inside, *means)
    # Values are centred in single precision, which has seven digits.
    assert found.score == pytest.approx(
        1 - (errors**2).sum() / ((scored - scored.mean()) ** 2).sum(), abs=1e-5
    )
    assert found.chosen_on == pytest.approx(naive_r2(chosen, mask[:half]), abs=1e-5)
    assert (found.mean_inside, found.mean_outside) == pytest.approx(means, abs=1e-5)
    high = scored[inside]
    area = np.mean(
        [(high > value).mean() + (high == value).mean() / 2 for value in scored[~inside]]
    )
    assert found.auc == pytest.approx(area, abs=1e-9) and found.share == pytest.approx(
        inside.mean()
    )
    assert (
        found.ci_low is not None
        and found.ci_high is not None
        and found.ci_low < found.score < found.ci_high
    )
    assert found.selectivity is not None and found.selectivity > 0.4
    assert (
        found.control is not None and found.to_json()["selectivity"] == found.score - found.control
    )
    for control, shown in (
        (-0.25, "selectivity 0.750 (R² of control values -0.250)"),
        (0.25, "selectivity 0.250"),
    ):
        assert str(replace(found, score=0.5, control=control).view()[-1]).endswith(shown), (
            "why it exceeds R²"
        )


def test_untrained_score_is_that_of_the_baseline_cell_that_follows_the_rule_best() -> None:
    generator = np.random.default_rng(5)
    mask = np.array([character == " " for character in TEXT.text])
    noise = generator.normal(size=(3, len(mask)))
    trained = cells_of(mask + 0.1 * noise[0])
    baseline = cells_of(noise[1], mask + noise[2])
    report = describe_cells(trained, TEXT, baseline=baseline)
    (found,) = report.descriptions
    half = len(mask) // 2
    best = baseline.values[1].astype(np.float64)
    predicted = np.where(
        mask[half:], best[:half][mask[:half]].mean(), best[:half][~mask[:half]].mean()
    )
    scored = best[half:]
    expected = 1 - ((scored - predicted) ** 2).sum() / ((scored - scored.mean()) ** 2).sum()
    assert found.untrained == pytest.approx(expected, abs=1e-5)
    assert report.untrained_share_explained == 0.5 and report.share_explained == 1.0
    many = replace(report, descriptions=report.descriptions * (NUM_LISTED + 1))
    for num_listed, suffix, num_rows in (
        (None, "", NUM_LISTED),
        (None, ".svg", NUM_LISTED + 1),
        (3, "", 3),
    ):
        options = SimpleNamespace(values={"--top": num_listed}, suffix=suffix)
        subject: Any = SimpleNamespace(model=SimpleNamespace(name="run"), options=options)
        assert (
            sum(getattr(one, "row_count", 0) for one in _show(subject, many).pictures) == num_rows
        )


def test_isotonic_fit_is_that_of_pooling_adjacent_groups() -> None:
    generator = np.random.default_rng(6)
    sizes = generator.integers(1, 9, 12).astype(np.float64)
    values = generator.normal(size=(4, 12)) + np.arange(12) / 6
    for row, means in zip(fit_rising(values * sizes, sizes), values, strict=True):
        pools = [[mean, size, 1] for mean, size in zip(means, sizes, strict=True)]
        place = 0
        while place + 1 < len(pools):
            if pools[place][0] <= pools[place + 1][0]:
                place += 1
                continue
            (mean, size, width), (other, added, more) = pools[place : place + 2]
            pools[place : place + 2] = [
                [(mean * size + other * added) / (size + added), size + added, width + more]
            ]
            place = max(0, place - 1)
        assert row == pytest.approx([mean for mean, _, width in pools for _ in range(width)])


def test_conditions_describe_bytes_by_the_characters_they_belong_to() -> None:
    data = "Где же он? Дома, сказал он.\n".encode() * 200
    text = EncodedText(
        np.frombuffer(data, np.uint8).astype(np.uint16), 0, data.decode("latin-1"), "byte"
    )
    conditions = build_conditions(text, len(text) // 2)
    flags = {
        one.phrase: row for one, row in zip(conditions.conditions, conditions.flags, strict=True)
    }
    assert data[:3][1] == "Г".encode()[1]
    assert flags["on a capital letter"][:3].tolist() == [True, True, False]
    assert flags["on a space"][6:8].tolist() == [True, False]


def phrases_of(text: str) -> dict[str, str]:
    """Return the negation of each condition of a text."""
    encoded = EncodedText(np.zeros(len(text), np.uint16), 0, text, "char")
    return {
        one.phrase: one.negation for one in build_conditions(encoded, len(text) // 2).conditions
    }


def test_conditions_have_names_and_hold_often_enough_in_both_halves() -> None:
    sides = phrases_of(("\tx = a\x01\r\nif\tb\r\n" * 200)[:3_000])
    assert sides["on a tab"] == "not on a tab" and "on U+0001" in sides
    returns = "carriage return within the last 3 characters"
    assert sides[f"a {returns}"] == f"no {returns}"
    phrases = phrases_of("a e b " * 1_000 + "a e c " * 1_000)
    assert "on 'a'" in phrases and not {"on 'b'", "on 'c'"} & phrases.keys()
    found = build_conditions(TEXT, len(TEXT) // 2, ["line-position"])
    at_least = {one.phrase: flags for one, flags in zip(found.conditions, found.flags, strict=True)}
    position = label_line_position(TEXT.text)
    thresholds = [
        int(phrase.removeprefix("line position ≥ ")) for phrase in at_least if "≥" in phrase
    ]
    assert thresholds and all(
        np.array_equal(at_least[f"line position ≥ {n}"], position >= n) for n in thresholds
    )


def test_a_cell_that_hardly_moves_is_standardized_and_one_that_stands_still_is_zero() -> None:
    values = 1e-5 * np.array([[1.0, -1.0] * 2_000, [1e-3, -1e-3] * 2_000])
    assert (standardized(values) ** 2).sum(axis=1) == pytest.approx([1, 0], abs=1e-5)
