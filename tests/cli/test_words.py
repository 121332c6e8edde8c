"""Words take the place of drawings for a screen reader, which is said by ACCESSIBLE or TERM=dumb."""

import pytest
from built_runs import build_chain_and_quoting
from command_lines import DRAWN, PLACES, run_line


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("laboratory")
    build_chain_and_quoting(folder)
    return folder


def said(line):
    """What a command says on a dumb terminal, on one line."""
    ran = run_line(line.split(), **PLACES["dumb"])
    assert ran.code == 0 and not DRAWN.search(ran.out + ran.err)
    return " ".join((ran.out + ran.err).split())


@pytest.mark.parametrize(
    "line, words",
    [
        ("visualize quoting --surprise --chars 200", "8 bits or more about 2:"),
        ("visualize quoting --cell 0:5 --chars 200", "about 1: “xxxyyy yzy"),
        (
            "visualize quoting --cell 0:5 --guesses --chars 2",
            "about 1, next z 30%, next x 30%, next y 30%",
        ),
        ("visualize quoting --gradients", "quoting, by characters before: 2: 2.0e-02; 4: 5.4e-04;"),
        ("visualize quoting --evidence best", "tracks; AUC 1.000 (1.000 to 1.000), chance"),
        ("sample chain --seed 0 --length 100 --trace", "no value, underlined: abcdefg newline"),
        ("sample quoting --seed 0 --length 100 --color 0:5", "about 1: “zyzyzz"),
        ("train chain.txt --hidden-size 8 --steps 4 --out said", "step: 4; epoch: "),
    ],
)
def test_the_values_are_said(line, words, laboratory, monkeypatch, few_samples):
    monkeypatch.chdir(laboratory)
    assert words in said(line)


@pytest.mark.parametrize("value, is_in_words", [("1", True), ("0", False), ("", False)])
def test_it_is_asked_for_by_a_variable(process, value, is_in_words):
    ran = process("-m", "charrnn", "corpora", "show", "names", TERM="xterm", ACCESSIBLE=value)
    assert (b"names: from; words" in ran.stdout) is is_in_words


def test_a_full_screen_names_another_command():
    ran = run_line(["explore"], **PLACES["dumb"])
    ran.assert_refused(2, "ACCESSIBLE=1", "`charrnn ")
