"""Cells of several runs: correlations, the null of rotated activations, and what is reported of
them."""

import json
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import copy_run
from hand_built import vocab_of
from synthetic import make_corpus

import charrnn
from charrnn import match_cells
from charrnn.analyses import matching
from charrnn.analyses.matching import random_rotation, rotated_best
from charrnn.api import Model
from charrnn.cells.findings import CellFindings
from charrnn.cells.study import Study
from charrnn.cli.arguments import load_model
from charrnn.config.settings import Config
from charrnn.errors import CheckpointError, DataError, UsageError
from charrnn.model.shapes import weight_shapes
from charrnn.runs.checkpoint import checkpoint_step
from charrnn.runs.reader import RunReader
from charrnn.statistics.moments import Moments
from charrnn.text.vocab import Vocab

TEXT = make_corpus(num_chars=3_100, seed=3).text[:3_000]
"""Short enough to be read in one lane."""
VOCAB = vocab_of(TEXT)


def test_runs_have_a_letter_or_a_number():
    assert matching.short_names(["run"] * 28)[24:] == ["Y", "Z", "27", "28"]


def test_a_sentence_counts_the_cells_that_some_runs_have():
    report = SimpleNamespace(num_sharing=lambda: (1, 2, 4, 8))
    assert "all 3 other runs have 8, some of them 6, none 1 (p" in matching.sharing_sentence(report)


def test_a_property_is_found_where_its_score_is_near_the_best():
    """An AUC of 0.684 is beyond chance, and far from 1."""
    scores = [
        SimpleNamespace(strength=strength, is_significant=is_significant)
        for strength, is_significant in ((1.0, True), (0.368, True), (0.81, True), (0.9, False))
    ]
    found = matching.PropertyMatch(
        detector="quote", scores=(*scores, None), is_same=(True, False, False, False, False)
    )
    assert found.num_found == 2


def test_the_same_cell_has_a_near_score():
    match = SimpleNamespace(layer=0, unit=1, other_layer=0, other_unit=2, is_shared=True)
    pairs = [SimpleNamespace(matches=[match])]
    first = SimpleNamespace(layer=0, unit=1, strength=1.0)
    is_same = []
    for strength in (0.9, 0.7):
        partner = SimpleNamespace(layer=0, unit=2, strength=strength)
        found = matching._property("quote", scores=[first, partner], pairs=pairs)
        is_same.append(found.is_same)
    assert is_same == [(True, True), (True, False)]


def random_model(seed, *, layers=2, units=8, vocab=VOCAB, name=""):
    """Build a plain RNN with random weights."""
    config = Config(
        cell="rnn", num_layers=layers, hidden_size=units, embedding_size=6, dropout=0.0, seed=seed
    )
    generator = np.random.default_rng(seed)
    tensors = {
        shape_name: generator.normal(0, 1.2 / np.sqrt(shape[-1]), shape).astype(np.float32)
        for shape_name, shape in weight_shapes(config, len(vocab)).items()
    }
    return Model(config, vocab, tensors, name=name or f"random-{seed}")


def permuted(model):
    """Permute the units of a model of one layer, and flip the signs of some; return the copy, the
    order and signs."""
    generator, tensors = np.random.default_rng(2), dict(model.tensors)
    order, signs = generator.permutation(8), generator.choice([-1.0, 1.0], 8).astype(np.float32)
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        tensors[f"layers.0.{name}"] = (tensors[f"layers.0.{name}"][order].T * signs).T
    for name in ("layers.0.weight_hh_l0", "output.weight"):
        tensors[name] = tensors[name][:, order] * signs
    return Model(model.config, model.vocab, tensors, name="permuted"), order.tolist(), signs


def moments_of(runs, *, window):
    moments = Moments()
    for begin in range(0, len(runs[0]), window):
        moments.add_cells(np.concatenate([run[begin : begin + window] for run in runs], axis=1))
    return moments


FIRST, SECOND = slice(5), slice(5, None)
"""The cells of both runs."""


def correlated_runs():
    """Return cells (N, 5) and (N, 3) that share two signals; the last cell of the first run is
    constant."""
    generator = np.random.default_rng(0)
    signals = generator.normal(size=(900, 2))
    runs = [
        0.3 * (signals @ generator.normal(size=(2, size)) + generator.normal(size=(900, size)))
        for size in (5, 3)
    ]
    runs[0][:, 4] = 0.7
    runs[1][:, 0] += 50  # far from zero: sums of squares alone would lose digits
    return [run.astype(np.float32) for run in runs]


def test_correlations_are_those_of_the_cells_of_two_runs():
    runs = correlated_runs()
    correlations = moments_of(runs, window=100).correlations(FIRST, SECOND)
    expected = np.corrcoef(runs[0][:, :4], runs[1], rowvar=False)[:4, 4:]
    # float32 products of 50 ± 1: about five digits.
    assert correlations == pytest.approx(np.vstack((expected, np.zeros(3))), abs=1e-4)


def test_the_null_is_the_best_correlation_with_rotated_activations(monkeypatch):
    monkeypatch.setattr(matching, "NUM_ROTATIONS", 3)
    runs = [correlated_runs()[0], np.random.default_rng(1).normal(size=(900, 4)).astype(np.float32)]
    calls = []
    found = rotated_best(
        moments_of(runs, window=100), FIRST, SECOND, layer_size=2, advance=calls.append
    )
    generator = np.random.default_rng(0)
    for reached in found:
        first, second = random_rotation(2, generator), random_rotation(2, generator)
        assert first @ first.T == pytest.approx(np.eye(2), abs=1e-12)
        assert np.abs(first - second).max() > 0.01
        rotated = np.hstack([runs[1][:, :2] @ first, runs[1][:, 2:] @ second])
        across = np.corrcoef(runs[0][:, :4], rotated, rowvar=False)[:4, 4:]
        assert reached == pytest.approx([*np.abs(across).max(axis=1), 0], abs=1e-4)
    assert calls == [0, 0, 0]


def test_a_permuted_copy_is_matched_perfectly():
    model = random_model(1, layers=1)
    copied, order, signs = permuted(model)
    report = match_cells(
        [copied, model], TEXT, detectors=["line-position", "quote", "word-position"]
    )
    (pair,) = report.pairs
    for match, other, sign in zip(pair.matches, order, signs, strict=True):
        assert (match.other_layer, match.other_unit) == (0, other)
        assert (match.correlation, match.p_value) == pytest.approx((sign, 0.01), abs=1e-4)
    assert pair.share_99 == 1
    assert report.num_sharing() == (0, 8)
    # A cell that its mirror image ties with in 512 bins may be chosen instead; here none is.
    assert all(found.is_same == (True, True) for found in report.properties)


def test_reading_leaves_the_mode_of_torch_as_it_was():
    studies = [random_model(seed, layers=1, units=4).study(TEXT) for seed in (1, 2, 3)]
    assert sum(len(window) for window in matching.read_together(studies)) == len(TEXT)
    assert not torch.is_inference_mode_enabled()
    windows = matching.read_together(studies)
    assert next(windows).shape[1] == 3 * 4
    windows.close()  # as where an error ends the reading
    assert not torch.is_inference_mode_enabled()


def test_independent_random_networks_stay_at_the_null_level(monkeypatch):
    """Of 160 cells, 8 and 2 are expected below p = 0.05 and 0.01."""
    monkeypatch.setattr(Study, "findings", lambda *_, **__: CellFindings(scores=()))
    pairs = [
        match_cells([random_model(seed), random_model(seed + 50)], TEXT).pairs[0]
        for seed in range(10, 20)
    ]
    assert fmean(pair.share_95 for pair in pairs) < 0.2
    assert fmean(pair.share_99 for pair in pairs) < 0.08
    assert fmean(pair.share_excess for pair in pairs) == 0
    for pair in pairs:
        assert pair.median == pytest.approx(pair.null_median, abs=0.12)


def test_runs_of_other_sizes_and_numbers_of_layers_are_matched():
    small, large = random_model(1, layers=1, units=5), random_model(2, layers=3, units=9)
    report = match_cells([small, large, small], TEXT, detectors=["line-position", "quote"])
    assert report.names == ("random-1@0", "random-2", "random-1@0 (2)")
    _, itself, _ = report.pairs
    assert [(pair.name, pair.other, len(pair.matches)) for pair in report.pairs] == [
        ("random-1@0", "random-2", 5),
        ("random-1@0", "random-1@0 (2)", 5),
        ("random-2", "random-1@0 (2)", 27),
    ]
    for match in itself.matches:
        assert (match.layer, match.unit) == (match.other_layer, match.other_unit)
        assert match.correlation == pytest.approx(1, abs=1e-5)
    num_found = [found.num_found for found in report.properties]
    assert num_found == sorted(num_found, reverse=True)


@pytest.fixture(scope="module")
def mixed():
    """Two models, of which one reads bytes and the other one characters."""
    return [random_model(1, vocab=Vocab.of_bytes(), name="bytes"), random_model(2)]


def test_bytes_and_characters_are_matched_over_ascii(mixed):
    (pair,) = match_cells(mixed, TEXT, detectors=["quote"]).pairs
    (same,) = match_cells(mixed, TEXT.encode(), detectors=["quote"]).pairs
    assert pair == same
    assert (pair.name, len(pair.matches)) == ("bytes", 16)


@pytest.mark.parametrize(
    "text, message",
    [
        (f"é{TEXT}", "bytes reads the text as 3,002 characters and random-2 as 3,001"),
        # Cut inside a character: its first byte is left out.
        (TEXT.encode() + "é".encode()[:1], "3,001 characters and random-2 as 3,000"),
        (b"hello\xff" + TEXT.encode(), "3,006 characters and random-2 as 3,005"),
    ],
)
def test_what_is_not_ascii_is_refused(mixed, text, message):
    with pytest.raises(DataError, match=message):
        match_cells(mixed, text)


@pytest.mark.filterwarnings("ignore:.* characters are unknown to ")
def test_a_text_of_another_alphabet_is_refused():
    other = random_model(2, vocab=vocab_of("абвгд" * 99), name="russian")
    message = "russian does not know 3,000 of 3,000 characters; at most 1% may be unknown"
    with pytest.raises(DataError, match=message):
        match_cells([random_model(2), other], TEXT)


def test_one_run_is_too_few():
    with pytest.raises(UsageError, match="at least two runs, not 1"):
        match_cells([random_model(2)], TEXT)


@pytest.fixture
def runs(lstm, gru, tmp_path):
    """Copy two runs into `checkpoints/` of the working folder, and return their names."""
    for run in (lstm, gru):
        copy_run(run.path, tmp_path / "checkpoints" / run.name)
    return [lstm.name, gru.name]


def test_a_second_call_reads_nothing(runs, command, monkeypatch):
    detectors = ("--detector", "quote", "--detector", "line-position")
    line = ("visualize", "--same", *runs, "--json", *detectors)
    first = command(*line)
    report = json.loads(first.out)
    assert report["runs"] == runs
    assert report["num_chars"] > 4000
    assert len(report["pairs"][0]["matches"]) == sum(report["num_sharing"]) == 32
    assert {found["detector"] for found in report["properties"]} == {"quote", "line-position"}

    def fail(*_):
        raise AssertionError("the text was read again")

    with monkeypatch.context() as patched:
        patched.setattr(matching, "read_together", fail)
        patched.setattr("charrnn.cells.trace.stream_cells", fail)
        assert command(*line) == first


def test_a_step_is_loaded_by_its_number(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, *_, last = map(checkpoint_step, RunReader(Path("checkpoints") / runs[0]).checkpoints())
    assert [charrnn.load(runs[0], step=step).step for step in (first, last)] == [first, last]
    with pytest.raises(
        CheckpointError, match=rf"step-00000007 does not exist\ncheckpoints of this run: {first}, "
    ):
        charrnn.load(runs[0], step=7)
    damaged = tmp_path / "checkpoints" / runs[0] / f"step-{first:08}" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match=f"step-{first:08} is damaged"):
        charrnn.load(runs[0], step=first)
    # A run may have such a name itself.
    copy_run(tmp_path / "checkpoints" / runs[1], tmp_path / "checkpoints" / "gru@7")
    for name, step in (("gru@7", None), (f"{runs[0]}@{last}", last)):
        assert step in (None, load_model(name, quiet=True).step)
