"""What the microscope is for: a model is trained for a minute, and the cells that keep the text's states are found.

The states are known, because the text was made: they are what a cell is held against here, not a detector's labels.
"""

import pytest
from synthetic import SyntheticCorpus, make_corpus

import charrnn
from charrnn.cells.records import CellFindings, CellScore
from charrnn.cells.statistics import measure_score

pytestmark = [pytest.mark.slow, pytest.mark.trained]


@pytest.fixture(scope="module")
def text() -> SyntheticCorpus:
    return make_corpus(num_chars=400_000)


@pytest.fixture(scope="module")
def model(text: SyntheticCorpus, tmp_path_factory: pytest.TempPathFactory) -> charrnn.Model:
    folder = tmp_path_factory.mktemp("found")
    (folder / "made.txt").write_text(text.text, encoding="utf-8")
    config = charrnn.Config(
        corpus=(str(folder / "made.txt"),),
        cell="lstm",
        hidden_size=64,
        embedding_size=16,
        num_lanes=16,
        bptt_length=64,
        steps=2_500,
        seed=2,
        device="cpu",
        precision="fp32",
    )
    for _ in charrnn.train(config, out=folder / "run"):
        pass
    return charrnn.load(folder / "run")


@pytest.fixture(scope="module")
def findings(model: charrnn.Model) -> CellFindings:
    held_out, before = model.held_out_text()
    return model.survey(held_out, context=before)


@pytest.mark.parametrize(
    ("detector", "state", "least"),
    [("quote", "is_quoted", 0.8), ("indentation", "indentation", 0.62), ("line-position", "columns", 0.4)],
)
def test_a_cell_is_found_that_keeps_a_known_state(
    model: charrnn.Model, text: SyntheticCorpus, findings: CellFindings, detector: str, state: str, least: float
) -> None:
    """AUC for quotations, |rho| for counts: 0.87 to 1.00, 0.70 to 0.79 and 0.53 to 0.84 under ten perturbations."""
    score = _score_of(findings, detector)
    held_out, before = model.held_out_text()
    half = len(held_out) // 2
    trace = model.trace(held_out[half:], context=before + held_out[:half])
    known = getattr(text, state)[-len(trace.text) :]
    measured = measure_score(trace.cells[:, score.layer, score.unit], known, score.polarity)
    assert abs(measured) >= least
    reported = score.auc if score.auc is not None else score.spearman
    assert measured == pytest.approx(reported, abs=0.01)  # the histograms' error, and columns that count from 0 or 1


@pytest.mark.parametrize("detector", ["quote", "indentation", "line-position"])
def test_what_was_learned_stands_out_from_chance_and_from_an_untrained_baseline(
    findings: CellFindings, detector: str
) -> None:
    score = _score_of(findings, detector)
    reached = score.auc if score.auc is not None else abs(score.spearman or 0.0)
    assert score.is_significant
    # Untrained 0.71, 0.60 and 0.38, and 0.57, 0.21 and 0.11 by chance: all the lower limits are 0.1 above the former.
    assert score.untrained is not None and reached > abs(score.untrained) + 0.05
    assert score.null_level is not None and reached > score.null_level + 0.2


def test_the_quotation_cell_is_as_sure_far_from_the_marks(findings: CellFindings) -> None:
    score = _score_of(findings, "quote")
    assert score.interior is not None and score.auc is not None
    # At most 0.01 less under ten perturbations, after twice as many steps.
    assert score.interior > score.auc - 0.1


def _score_of(findings: CellFindings, detector: str) -> CellScore:
    return next(score for score in findings.scores if score.detector == detector)
