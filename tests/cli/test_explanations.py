"""A command line that is wrong is answered with the name that was probably meant.

Tests `cli.root`, too.
"""

from pathlib import Path

import pytest

ANSWERS = {
    "smaple ~": "No such command 'smaple'. Did you mean 'sample'?",
    "corpora fethc x": "No such command 'fethc'. Did you mean 'fetch'?",
    "sample ~ --temperature 0.8": "No such option: --temperature. Did you mean --temp?",
    "sample ~ --top_k 5": "No such option: --top_k. Did you mean --top-k?",
    "sample ~ --tempp=1": "No such option: --tempp. Did you mean --temp?",
    "train text.txt --weight-decay 0.1": "Did you mean --set weight_decay=VALUE?",
    "sample ~ 500": "charrnn sample takes one RUN: leave out 500.",
    "visualize ~ ~ --evidence best": "charrnn visualize takes one RUN: leave out ~.",
    "corpora list x": "charrnn corpora list takes no word: leave out x.",
    "export ~": "export takes [RUN] FILE: ~ is a run. Write the file after it.",
}
"""Command lines, with ~ for a run, and what is a part of the answer."""


@pytest.mark.parametrize("line", ANSWERS)
def test_a_wrong_command_line_is_answered_with_what_works(command, alphabet_run, line):
    Path("text.txt").write_text("some text\n" * 9)
    run = str(alphabet_run)
    answer = ANSWERS[line].replace("~", run)
    ran = command(*line.replace("~", run).split())
    assert ran.code != 0
    assert ran.out == ""
    assert any(answer in shown for shown in ran.err.split("\n"))


@pytest.mark.parametrize(
    "line",
    [
        "sample nowhere",
        "visualize nowhere",
        "evaluate nowhere",
        "predict nowhere a",
        "runs nowhere",
        "export nowhere x.zip",
        "train --resume nowhere",
        "train text.txt --init-from nowhere",
    ],
)
def test_a_missing_run_says_where_it_was_looked_for(command, alphabet_run, line):
    Path("text.txt").write_text("some text\n" * 90)
    ran = command(*line.replace("RUN", str(alphabet_run)).split())
    assert ran.code == 4
    assert f"no run 'nowhere' in {Path.cwd()} or in its folder checkpoints" in ran.err
    assert "included models: code, prose" in ran.err
    assert ran.err.count("\n") <= 3


@pytest.mark.parametrize(
    "line, shown",
    [
        (
            "sample RUN --temp 0,8 --length 1",
            "--temp 0,8 are two temperatures, 0 and 8",
        ),
        (
            "sample RUN --top-p 0,9",
            "--top-p is 0,9; it must be a number (with a decimal point: 0.9)",
        ),
        ("train text.txt --minutes 0,5", "it must be a number or null (with a decimal point: 0.5)"),
        ("train text.txt --set dropout=0,1", "(with a decimal point: 0.1)"),
        ("train text.txt --steps 1.000", "whole number or null (without separators: 1000)"),
        ("train text.txt --hidden-size 1,024", "number or auto (without separators: 1024)"),
        ("sample RUN --length 12.345.678", "a whole number (without separators: 12345678)"),
        ("sample RUN --seed 0,5", "--seed is 0,5; it must be a whole number."),
    ],
)
def test_a_decimal_comma_and_separators_are_noticed(command, alphabet_run, line, shown):
    Path("text.txt").write_text("some text\n" * 9)
    ran = command(*line.replace("RUN", str(alphabet_run)).split())
    assert shown in ran.err


def test_several_temperatures_are_no_decimal_comma(command, alphabet_run):
    ran = command("sample", alphabet_run, "--temp", "0.5,1", "--length", 1)
    assert "two temperatures" not in ran.err
