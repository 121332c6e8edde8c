"""The total of an evaluation's progress is the sum of what it reports while it reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from built_runs import CYCLE, build_chain, chain_text

import charrnn
from charrnn import api
from charrnn.cli import progress
from charrnn.evaluation import comparison
from charrnn.lab.ngrams import ORDERS


@pytest.fixture(scope="module")
def models(chain_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[api.Model]:
    other = tmp_path_factory.mktemp("runs") / "other"
    corpus = chain_run.parent / "chain.txt"
    return [charrnn.load(chain_run), charrnn.load(build_chain(other, "\nacegbdf", corpus=corpus))]


def totals(measure: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[int, int]:
    """Return the total that `measure` states once, before it starts, and the sum of its steps."""
    stated: list[int] = []
    done: list[int] = []

    def advance(amount: int) -> None:
        assert len(stated) == 1
        done.append(amount)

    measure(*arguments, on_progress=advance, on_total=stated.append, **options)
    return stated[0], sum(done)


@pytest.mark.parametrize("max_chars", [1_000, 1 << 20, None])
@pytest.mark.parametrize(
    ("measure", "options"),
    [
        (comparison.evaluate_runs, {}),
        (comparison.evaluate_runs, {"by": ("class", "position")}),
        (comparison.evaluate_runs, {"ngrams": ORDERS[:3]}),
        (comparison.losses_by_line, {}),
        (comparison.losses_by_char, {}),
        (comparison.error_kinds, {}),
        (comparison.long_range, {}),
    ],
)
def test_the_total_is_exact(
    models: list[api.Model], measure: Callable[..., Any], options: dict[str, Any], max_chars: int | None
) -> None:
    stated, done = totals(measure, models, max_chars=max_chars, **options)
    if measure is comparison.long_range:  # Nothing is closed in this text, so no n-grams are counted.
        done += len(models[0].training_text())
    assert stated == done > 0


def test_the_total_is_exact_where_n_grams_are_scored_in_several_passes(
    models: list[api.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("baselines", "workload"):
        monkeypatch.setattr(f"charrnn.evaluation.{module}.ROWS_BYTES", 2 * 4 * 3_000)
    stated, done = totals(comparison.evaluate_runs, models[:1], ngrams=ORDERS[:3])
    assert stated == done


@pytest.mark.parametrize("part", ["validation", "test"])
def test_with_dynamic_evaluation_the_total_is_about_right(tmp_path: Path, part: str) -> None:
    """The steps of Newton's method are unknown: 3 are assumed, and the text is read twice or more often besides."""
    (tmp_path / "text.txt").write_bytes(chain_text(3_000).encode())
    model = charrnn.load(build_chain(tmp_path / "chain", CYCLE, corpus=tmp_path / "text.txt"))
    object.__setattr__(model.config, "split", (0.7, 0.15, 0.15))
    stated, done = totals(comparison.evaluate_runs, [model], part=part, dynamic=True)
    windowed = 512 * 256
    assert 0.5 < (stated - windowed) / (done - windowed) < 2


def test_a_bar_gets_its_total_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "can_animate", lambda file: True)
    with progress.progress_of_unknown("evaluate") as (advance, set_total):
        set_total(200)
        advance(50)
        assert " 25%" in str(advance.__self__)  # type: ignore[attr-defined]
