"""The table of runs: what it shows, and what it leaves out where the terminal is narrow."""

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from charrnn.runs.overview import RunSummary
from charrnn.views.tables import DISPENSABLE_RUN_COLUMNS, RunsTable
from charrnn.views.theme import short_number

RUN = RunSummary(
    name="shakespeare-001",
    cell="lstm",
    num_layers=2,
    hidden_size=512,
    corpus="/texts/shakespeare.txt",
    text="shakespeare",
    digest=None,
    alphabet="char",
    split=(0.9, 0.1),
    seed=0,
    num_parameters=3_321_921,
    step=2472,
    num_steps=2472,
    num_chars=20_250_624,
    best_nats=1.34561,
    minutes=10.04,
)
WAR = replace(RUN, name="war-001", text="war-and-peace", seed=7, step=1200, best_nats=None, num_parameters=812_345)
UNLIKE = replace(RUN, name="x", text="a-long-name-of-a-text", seed=4_294_967_295, minutes=99_999.94)
HUGE = replace(
    UNLIKE, num_layers=64, hidden_size=16384, num_parameters=137_438_953_472, step=999_999_999, num_steps=10**9
)


def shown(*runs: RunSummary, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None, _environ={})
    console.print(RunsTable(runs))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= width
    return [line.strip() for line in lines if line.strip() and "───" not in line]


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line)


def test_what_has_no_room_is_named_below() -> None:
    lines = shown(RUN, WAR, width=78)
    assert cells(lines[0]) == ["run", "model", "params", "seed", "steps", "nats/char", "minutes"]
    assert lines[-1] == "Not shown in this width: text; the CSV has them."
    assert "Not shown in this width: text, minutes, seed, parameters;" in " ".join(shown(RUN, WAR, width=44))


@pytest.mark.parametrize("width", (24, 40, 60, 80, 100, 129))
@pytest.mark.parametrize("runs", [(RUN,), (RUN, WAR), (UNLIKE,), (WAR, HUGE)], ids=["one", "two", "unlike", "huge"])
def test_no_number_is_cut_in_any_width(runs: tuple[RunSummary, ...], width: int) -> None:
    lines = shown(*runs, width=width)
    for run in runs:
        loss = "" if run.best_nats is None else f"{run.best_nats:.4f}"
        steps = f"{run.step:,}"
        assert any(loss in line for line in lines) and any(steps in line for line in lines)
        assert any(f"{run.num_layers}×{run.hidden_size}" in line for line in lines)
    left_out = {name for name in DISPENSABLE_RUN_COLUMNS if any("Not shown" in line for line in lines)}
    if not left_out:
        assert any(f"{run.minutes:.1f}" in line for line in lines for run in runs)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.25, "0.25"),
        (9999, "9,999"),
        (10_000, "10k"),
        (999_499, "999k"),
        (999_600, "1M"),
        (3_321_921, "3.32M"),
        (10**15, "1000T"),
    ],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short_number(value) == text


@pytest.mark.parametrize("width", [20, 140])
@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"digest": "b"}, "These runs learned different texts: their losses must not be compared."),
        ({"alphabet": "byte"}, "Losses per character and losses per byte must not be compared."),
        (
            {"split": (0.8, 0.2)},
            "These runs split their text differently: their validation losses must not be compared.",
        ),
    ],
)
def test_losses_that_must_not_be_compared_get_a_note(change: dict[str, Any], note: str, width: int) -> None:
    one = replace(RUN, digest="a")
    assert note in " ".join(shown(one, replace(one, name="b", **change), width=width))
    for other in (replace(one, name="b"), replace(one, name="b", best_nats=None, **change)):
        assert "compared" not in " ".join(shown(one, other, width=width))
