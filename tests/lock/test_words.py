"""Words take the place of drawings for a screen reader, which is said by ACCESSIBLE or TERM=dumb."""

import subprocess
import sys

import locked
import pytest
from command_lines import DRAWN, PLACES, run_line
from conftest import clean_environment


@pytest.fixture(scope="module")
def laboratory():
    with locked.new_laboratory() as folder:
        yield folder


def said(line, laboratory):
    """What a command says on a dumb terminal, on one line."""
    place = PLACES["dumb"] | {"CHARRNN_CACHE": str(laboratory / ".cache")}
    ran = run_line(line.split(), **place)
    assert ran.code == 0 and not DRAWN.search(ran.out + ran.err)
    return " ".join((ran.out + ran.err).split())


@pytest.mark.parametrize(
    "line, words",
    [
        (
            "runs chain",
            "run: chain; nats/char: 1.0000; date: 2023-11-14; model: rnn 1×9; steps: 30;",
        ),
        ("runs chain --plot", "chain, by steps: 10: 1.5; 20: 1.25; 30: 1"),
        ("predict quoting x", "next: newline; probability: 0.1000 next: space; probability: 0.1"),
        ("evaluate quoting --text quotes.txt", "precision: fp32 nats/char: 1.894 to 1.905;"),
        (
            "visualize quoting --surprise --chars 200",
            "values from 0 to 8 bits or more; underlined: nothing about 2:",
        ),
        ("visualize quoting --cell 0:5 --chars 200", "about 1: “xxxyyy yzy"),
        ("visualize quoting --cell 0:5 --guesses --chars 2", "x: +0.96; next z 30% x 30% y 30%"),
        ("visualize quoting --top 1", "about 1, underlined: “"),
        ("visualize lstm --gates", "layer 1: output: shut 7% open 15%"),
        ("visualize quoting --gradients", "quoting, by characters before: 2: 1.8e-02;"),
        ("visualize quoting --evidence best", "tracks; AUC 1.000 (1.000 to 1.000), chance"),
        (
            "sample chain --seed 0 --length 100 --trace",
            "no value, underlined: abcdefg newline",
        ),
        ("sample quoting --seed 0 --length 100 --color 0:5", "about 1: “zyzyzz"),
    ],
)
def test_the_values_are_said(line, words, laboratory):
    assert words in said(line, laboratory)


def test_a_histogram_is_left_out(laboratory):
    page = said("visualize quoting --cell 0:5 --chars 200", laboratory)
    assert "Mean value after a character" in page and "histogram" not in page


def test_each_validation_is_a_line_with_names(laboratory):
    line = "train words.txt --hidden-size 8 --steps 4 --set evaluate_every=2 --out said"
    assert "step: 4; epoch: " in said(line, laboratory)


@pytest.mark.parametrize(
    "variables, is_in_words",
    [({"ACCESSIBLE": "1"}, True), ({"ACCESSIBLE": "0"}, False), ({"ACCESSIBLE": ""}, False)],
)
def test_it_is_asked_for_by_a_variable(variables, is_in_words):
    line = [sys.executable, "-m", "charrnn", "corpora", "show", "names"]
    environment = clean_environment(TERM="xterm", **variables)
    ran = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    assert ("names: from; words" in ran.stdout) is is_in_words


def test_a_full_screen_names_another_command():
    ran = run_line(["explore"], **PLACES["dumb"])
    assert ran.code == 2 and "ACCESSIBLE=1" in ran.err and "`charrnn " in ran.err
