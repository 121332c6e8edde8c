"""A study: what it measures in the half that did not choose, and its errors."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import make_corpus

from charrnn.api import Model
from charrnn.detectors.registry import custom_detector
from charrnn.errors import CheckpointError

LIVELY, CALM = "ab" * 1_000, "a" * 200 + "b" * 200
TEXT = LIVELY + CALM * 5
"""A label of b changes at every character of the first half, and rarely in the second."""
HALF = len(TEXT) // 2


@pytest.fixture
def study(model):
    assert len(LIVELY) == HALF
    return model.study(TEXT)


def test_a_model_that_computes_no_finite_numbers_is_refused(model):
    damaged = "layers.0.weight_hh_l0"
    tensors = model.tensors | {damaged: np.full_like(model.tensors[damaged], np.nan)}
    # Lines, so that there are labels to score.
    study = Model(model.config, model.vocab, tensors).study("ab ba\na\n" * 500)
    for measure in (study.findings, lambda: study.page(0, 1)):
        with pytest.raises(
            CheckpointError, match=r"^Some cell values of this model are not finite numbers"
        ):
            measure()


def test_the_passages_shown_come_from_that_half(study, monkeypatch):
    monkeypatch.setattr("charrnn.cells.records.CellScore.is_significant", True)
    findings = study.findings([custom_detector("b")], untrained=False)
    (passage,) = study.passages(findings, [custom_detector("b")])
    end = passage.begin + len(passage.coloured.text)
    assert passage.begin >= HALF
    assert passage.coloured.text == TEXT[passage.begin : end]
    (values,) = study.values([(passage.score.layer, passage.score.unit)], slice(passage.begin, end))
    assert passage.coloured.values == tuple(values.tolist())
    assert passage.coloured.inside == tuple(character == "b" for character in passage.coloured.text)
    monkeypatch.setattr("charrnn.cells.study.choose_passage", None)  # It is remembered.
    assert study.passages(findings, [custom_detector("b")])[0].begin == passage.begin
    assert study.passages(findings, [custom_detector("b")], 0) == ()
    monkeypatch.setattr("charrnn.cells.records.CellScore.is_significant", False)
    assert study.passages(findings, [custom_detector("b")]) == ()


def test_the_cells_furthest_above_the_baseline_are_shown_first(model, monkeypatch):
    monkeypatch.setattr("charrnn.cells.records.CellScore.is_significant", True)
    study = model.study(make_corpus(num_chars=4_000, seed=3).text)
    detectors = [custom_detector(pattern) for pattern in ("[a-f]", "[g-m]", "[n-s]")]
    findings = study.findings(detectors, untrained=False)
    # Gains of 2 AUC - 1: -0.1, 0.4 and 0.5.
    scores = (("[a-f]", 0.9, 0.95), ("[g-m]", 0.8, 0.6), ("[n-s]", 0.75, 0.5))
    by_name = {score.detector: score for score in findings.scores}
    changed = []
    for name, auc, untrained in scores:
        changed.append(replace(by_name[name], auc=auc, untrained=untrained))
    findings = replace(findings, scores=tuple(changed))
    known = replace(findings, scores=tuple(replace(one, untrained=None) for one in changed))

    def shown(findings, *most):
        passages = study.passages(findings, detectors, *most)
        return [passage.score.detector for passage in passages]

    assert shown(findings) == ["[n-s]", "[g-m]", "[a-f]"]
    assert shown(findings, 2) == ["[n-s]", "[g-m]"]
    assert shown(known) == ["[a-f]", "[g-m]", "[n-s]"]
