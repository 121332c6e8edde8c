"""The values of cells: statistics against NumPy, timescales of wired cells, passages against a loop
over all values."""

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from encoded_texts import as_text
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from random_networks import H, L, V, random_network

from charrnn.cells import values as cell_values
from charrnn.cells.activations import Activations
from charrnn.cells.findings import LAGS, NUM_BINS, CellValues
from charrnn.cells.values import (
    NUM_CANDIDATES,
    NUM_DECILES,
    choose_passage,
    measure_values,
    number_sentences,
)
from charrnn.text.vocab import EncodedText

WORDS = ("lamp ", "river. ", '"Stone!" ', "tree\n", "house\n\n", "a ")


def make_text(num_chars: int, seed: int = 0) -> EncodedText:
    """Letters and spaces, and one of the characters a period that ends a sentence in the decoded
    text."""
    ids = np.random.default_rng(seed).integers(0, V, num_chars).astype(np.uint16)
    return as_text(ids, text="".join("ab. dxy"[char] for char in ids.tolist()))


@pytest.fixture(scope="module")
def measured() -> tuple[Activations, tuple[CellValues, ...]]:
    activations = Activations(random_network("lstm"), make_text(3_000))
    return activations, measure_values(activations)


def test_the_statistics_are_those_of_numpy(
    measured: tuple[Activations, tuple[CellValues, ...]],
) -> None:
    activations, cells = measured
    assert [(one.layer, one.unit) for one in cells] == [
        (layer, unit) for layer in range(L) for unit in range(H)
    ]
    for one in cells:
        values = activations.of(one.layer, one.unit).astype(np.float64)
        assert one.mean == pytest.approx(values.mean()) and one.spread == pytest.approx(
            values.std(), rel=1e-5
        )
        assert one.histogram == tuple(np.histogram(values, NUM_BINS, (-1, 1))[0].tolist())
        assert sum(one.histogram) == one.num_chars == len(values)
        assert sum(one.density) * 2 / NUM_BINS == pytest.approx(1)
        centred = values - values.mean()
        expected = [(centred[:-lag] * centred[lag:]).sum() / (centred**2).sum() for lag in one.lags]
        # Sums of 3,000 products in float32.
        np.testing.assert_allclose(one.autocorrelation, expected, atol=1e-4)
        assert list(one.lags) == sorted(set(LAGS))
        for after in one.after_characters:
            at = [
                index
                for index, character in enumerate(activations.text.text)
                if character == after.character
            ]
            assert after.count == len(at) and after.mean == pytest.approx(
                values[at].mean(), abs=1e-5
            )
        assert sum(after.count for after in one.after_characters) == len(values)
        assert [gate.gate for gate in one.gates] == ["f", "i", "o"]
        for gate, use in zip(one.gates, activations.gates[3 * one.layer :], strict=False):
            assert (gate.gate, gate.closed, gate.open) == (
                use.gate,
                use.left[one.unit],
                use.right[one.unit],
            )


def test_the_correlations_are_those_of_numpy(
    measured: tuple[Activations, tuple[CellValues, ...]],
) -> None:
    activations, cells = measured
    expected = np.corrcoef(activations.values.astype(np.float64))
    # Sums of 3,000 products in float32.
    np.testing.assert_allclose(cell_values.correlate(activations), expected, atol=1e-4)
    for column, one in enumerate(cells):
        others = np.argsort(-np.abs(expected[column]))[1 : cell_values.NUM_CORRELATED + 1]
        assert [other.layer * H + other.unit for other in one.correlated] == others.tolist()


@pytest.mark.parametrize(("kept", "zoneout"), [(0.5, 0.0), (0.96, 0.0), (0.96, 0.5)])
@torch.no_grad()
def test_the_timescale_of_a_leaky_cell_is_the_one_it_was_wired_with(
    kept: float, zoneout: float
) -> None:
    """Its forget gate is constant, so its memory decays by this factor with each character."""
    network = random_network("lstm", zoneout=zoneout)
    for layer in network.recurrent_layers():
        for name in ("ih", "hh"):
            layer.weight(name)[H : 2 * H] = 0
            layer.bias(name)[H : 2 * H] = 0
        layer.bias("ih")[H : 2 * H] = math.log(kept / (1 - kept))
    share = zoneout + (1 - zoneout) * kept
    for one in measure_values(Activations(network, make_text(500))):
        assert (
            one.timescale == pytest.approx(-1 / math.log(share), rel=1e-4)
            and one.timescale_from == "f"
        )


@torch.no_grad()
def test_a_gate_that_is_always_open_has_no_finite_timescale() -> None:
    network = random_network("gru", "dilated")
    first, second = network.recurrent_layers()
    first.bias("ih")[H : 2 * H] = 1e3
    for name in ("ih", "hh"):
        second.weight(name)[H : 2 * H] = 0
        second.bias(name)[H : 2 * H] = 0
    cells = measure_values(Activations(network, make_text(300)))
    assert [one.timescale for one in cells[:H]] == [None] * H
    # The second layer continues from two characters back, and its update gate is 1/2.
    assert [one.timescale for one in cells[H:]] == pytest.approx([2 / math.log(2)] * H)
    # What always keeps its memory is constant.
    assert (
        cells[0].autocorrelation == ()
        and cells[0].decay is None
        and cells[0].correlated[0].correlation == 0
    )
    assert {one.timescale_from for one in cells} == {"z"}


@torch.no_grad()
def test_without_such_a_gate_the_autocorrelation_gives_the_timescale() -> None:
    """A linear unit of an RNN that keeps 0.8 of its value and reads noise has the autocorrelation
    0.8^lag."""
    network = random_network("rnn")
    layer = network.recurrent_layers()[0]
    for name in ("ih", "hh"):
        layer.weight(name).zero_()
        layer.bias(name).zero_()
    layer.weight("hh").fill_diagonal_(0.8)
    assert network.embedding is not None
    network.embedding.weight[:, 0] = torch.linspace(-0.01, 0.01, V)
    layer.weight("ih")[0, 0] = 1
    one = measure_values(Activations(network, make_text(20_000)), [(0, 0)])[0]
    assert one.timescale_from == "autocorrelation" and one.timescale == one.decay
    # Between the lags 4 and 5 the curve is replaced by a line; 20,000 characters leave an error of
    # about 4 %.
    assert one.timescale == pytest.approx(-1 / math.log(0.8), rel=0.1)


def passages_by_loop(
    values: NDArray[np.float16], text: str, drawn: list[int]
) -> list[tuple[str, int, int]]:
    """Choose (kind, rank, index) by looking at every value, with Python's own sorting."""
    sentences = number_sentences(text).tolist()
    order = sorted(drawn, key=lambda index: float(values[index]))
    chosen: list[tuple[str, int, int]] = []

    def is_free(index: int) -> bool:
        return all(
            sentences[index] != sentences[other]
            and abs(index - other) >= cell_values.CHARS_BEFORE + cell_values.CHARS_AFTER
            for _, _, other in chosen
        )

    def candidates() -> Iterator[tuple[str, int, list[int]]]:
        yield from (("top", rank, order[::-1]) for rank in range(1, cell_values.NUM_EXTREMES + 1))
        yield from (("bottom", rank, order) for rank in range(1, cell_values.NUM_EXTREMES + 1))
        for decile in range(NUM_DECILES, 0, -1):
            begin, end = (
                len(order) * (decile - 1) // NUM_DECILES,
                len(order) * decile // NUM_DECILES,
            )
            middle = (begin + end) // 2
            yield "decile", decile, order[middle:end] + order[begin:middle][::-1]

    for kind, rank, indices in candidates():
        chosen += [(kind, rank, index) for index in filter(is_free, indices)][:1]
    return chosen


@given(st.integers(1, 4_000), st.integers(0, 2**31), st.sampled_from([2, 30, 2**11]))
@settings(max_examples=25)
def test_the_passages_are_those_of_a_loop_over_all_values(
    num_chars: int, seed: int, num_levels: int
) -> None:
    generator = np.random.default_rng(seed)
    text = "".join(generator.choice(WORDS, num_chars))[:num_chars]
    values = (np.round(np.tanh(generator.normal(size=num_chars)) * num_levels) / num_levels).astype(
        np.float16
    )
    drawn = generator.permutation(num_chars)
    passages = list(cell_values.extreme_passages(values, text, number_sentences(text), drawn))
    assert [(one.kind, one.rank, one.index) for one in passages] == passages_by_loop(
        values, text, drawn.tolist()
    )
    assert len({number_sentences(text)[one.index] for one in passages}) == len(passages)
    places = sorted((one.begin, one.end) for one in passages)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(places))
    for one in passages:
        assert 0 <= one.begin <= one.index < one.end <= len(text) and one.value == values[one.index]
        assert (
            one.index - one.begin <= cell_values.CHARS_BEFORE
            and one.end - one.index <= cell_values.CHARS_AFTER
        )


def test_the_label_changes_in_every_candidate_and_most_in_the_first() -> None:
    # One span of half a passage has the largest variance; three short ones show more.
    text = "0123456789" * 4 + "\n"
    block = (text * cell_values.NUM_LINES) * 3
    labels = np.zeros(len(block), bool)
    third = len(block) // 3
    labels[: third // 2] = True
    for begin in (0, 60, 120):
        labels[third + begin : third + begin + 30] = True
    candidates = cell_values.contrasting_passages(block, labels, 0)

    def contrast(start: int) -> float:
        part = labels[start : start + third].astype(int)
        return float(part.var() * min(6, sum(before != after for before, after in pairwise(part))))

    starts = range(0, len(block) - third + 1, len(text))
    assert contrast(candidates[0].start) == max(map(contrast, starts)) > 1.5 * contrast(0)
    ends = sorted((part.start, part.stop) for part in candidates)
    assert all(stop <= start for (_, stop), (start, _) in pairwise(ends)), "they do not overlap"
    assert all(labels[part].any() and not labels[part].all() for part in candidates)


def test_of_the_candidates_the_typical_one_is_shown_not_the_best() -> None:
    text = (
        'she said "come in" and "sit" or "go"\n'
        + "a plain line of words\n" * (cell_values.NUM_LINES - 1)
    ) * 30
    labels = np.cumsum([character == '"' for character in text]) % 2 == 1
    candidates = cell_values.contrasting_passages(text, labels, 0)
    assert len(candidates) == NUM_CANDIDATES
    agreements = dict(
        zip([part.start for part in candidates], np.linspace(0.1, 0.9, NUM_CANDIDATES), strict=True)
    )
    for sign in (1, -1):
        chosen = choose_passage(
            text, labels, 0, lambda part, sign=sign: float(sign * agreements[part.start])
        )  # type: ignore[misc]
        assert agreements[chosen.start] == pytest.approx(0.5)
    assert any(
        part.start for part in cell_values.contrasting_passages(text.replace("\n", " "), labels, 0)
    ), "one line"


@pytest.mark.parametrize("first", [0, 40])
def test_the_ablated_segment_has_the_most_label_changes(first: int) -> None:
    labels = np.random.default_rng(1).random(300) < np.linspace(0, 0.5, 300) ** 2
    labels[5:30:2] = True
    for length in (1, 7, 60, 300 - first):
        begin, starts = (
            cell_values.most_changes(labels, first, length),
            range(first, 300 - length + 1),
        )
        num_changes = {
            start: int(np.diff(labels[start : start + length]).sum()) for start in starts
        }
        assert num_changes[begin] == max(num_changes.values())
