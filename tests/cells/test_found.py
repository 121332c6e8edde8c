"""What the microscope is for: in a made text, whose states are known, the cells that keep them are
found."""

import pytest
from synthetic import make_corpus

import charrnn
from charrnn.statistics.agreement import measure_score

pytestmark = [pytest.mark.slow, pytest.mark.trained]

STATES = (
    ("quote", "is_quoted", 0.8),
    ("indentation", "indentation", 0.62),
    ("line-position", "columns", 0.41),
)
"""Detectors, the known state of each, and the least AUC or |rho| of its best cell with that state.
"""


def test_cells_are_found_that_keep_the_known_states(train_run, tmp_path):
    """AUC for quotations, |rho| for counts: 0.94, 0.70 and 0.52 to 0.54 under two perturbations."""
    (tmp_path / "made.txt").write_text(make_corpus(num_chars=200_000).text, encoding="utf-8")
    sizes = {
        "hidden_size": 48,
        "embedding_size": 16,
        "batch_size": 16,
        "bptt_length": 64,
        "steps": 600,
        "dropout": 0.03,
        "seed": 2,
    }
    rates = {"learning_rate": 0.02, "muon_scale": 2.0, "weight_average": 0.9}
    model = charrnn.load(
        train_run("found-001", corpus=(str(tmp_path / "made.txt"),), **sizes, **rates).path
    )
    fresh = make_corpus(num_chars=40_000, seed=1)
    scores = {score.detector: score for score in model.survey(fresh.text).scores}
    half = len(fresh.text) // 2
    trace = model.trace(fresh.text[half:], context=fresh.text[:half])
    for detector, state, least in STATES:
        score = scores[detector]
        assert score.untrained is not None, "what an untrained network has is compared by default"
        known = getattr(fresh, state)[-len(trace.text) :]
        measured = measure_score(trace.cells[:, score.layer, score.unit], known, score.polarity)
        assert abs(measured) >= least, detector
        reported = score.auc if score.auc is not None else score.spearman
        assert reported is not None
        assert measured == pytest.approx(
            reported, abs=0.01
        )  # the histograms' error, and columns from 0 or 1
        # What was learned stands out from an untrained baseline, 0.60, 0.40 and 0.39, and chance,
        # 0.56, 0.15, 0.09.
        reached = abs(reported)
        assert score.is_significant
        assert score.untrained is not None
        assert reached > abs(score.untrained) + 0.05
        assert reached > score.null_level + 0.2
    # The quotation cell is as sure far from the marks: no less under two perturbations.
    quote = scores["quote"]
    assert quote.interior > quote.auc - 0.1
