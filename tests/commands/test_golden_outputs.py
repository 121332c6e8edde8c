"""Ten command lines print what they printed when they were recorded: every word, and every number
as near as two processors are.

A change that is meant: `pytest tests/commands/test_golden_outputs.py -k NAME --record`, and look at
the difference. Without `-k` the last digits of all others are recorded again, too.
"""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from built_runs import build_chain_and_quoting
from command_lines import PLACES, faults, run_line

from charrnn.commands import visualize

RECORDS = Path(__file__).parent / "golden"
NUMBER = re.compile(r"[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
# Detectors by their names: a detector that is added changes nothing here.
FINDINGS = (
    "visualize quoting --find --json --detector quote --detector line-position --detector"
    " line-length --detector newline-next --detector word-position --detector digit --detector"
    " speaker --detector comment"
)
LINES = {
    "sample": "sample quoting --seed 3 --length 120 --temp 0.5,2",
    "beam": "sample chain --beam 4 --count 2 --length 20 --json",
    "copies": "sample chain --seed 3 --length 120 --temp 2 --trace",
    "numbers": "predict chain abc --numbers",
    "findings": FINDINGS,
    "evidence": "visualize quoting --evidence 0:5 --detector quote",
    "gradients": "visualize quoting --gradients --json",
    "cell": "visualize quoting --cell 0:5 --chars 60 --json",
    "losses": "evaluate chain --ngrams --chars 600",
    "settings": "train words.txt --show-config --device cpu --set precision=fp32 --set threads=1",
}


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    """Two runs whose weights are known, and their texts."""
    folder = tmp_path_factory.mktemp("laboratory")
    build_chain_and_quoting(folder)
    return folder


def words_and_numbers(text):
    """Divide an output into its words and its numbers. Widths of columns follow numbers."""
    numbers = [one.replace(",", "").replace("−", "-") for one in NUMBER.findall(text)]
    return re.sub(r"([ ─])\1+", r"\1", NUMBER.sub("#", text)), numbers


def is_near(number, old):
    """Return whether a number is the old one, as far as a fraction is the same on two processors:
    the sums of float32 differ in their last digits, and so may the last digit that is printed."""
    if number == old:
        return True
    exponent = Decimal(old).as_tuple().exponent
    return exponent < 0 and float(number) == pytest.approx(float(old), rel=1e-3, abs=10**exponent)


@pytest.mark.parametrize("name", LINES)
def test_it_prints_what_it_printed(laboratory, name, monkeypatch, request):
    monkeypatch.chdir(laboratory)

    ran = run_line(LINES[name].split())

    printed = f"{ran.code}\n{ran.out}{ran.err}".replace(str(laboratory), "FOLDER")
    path = RECORDS / f"{name}.txt"
    if request.config.getoption("--record"):
        path.write_text(printed, encoding="utf-8")
    words, numbers = words_and_numbers(printed)
    old_words, old_numbers = words_and_numbers(path.read_text(encoding="utf-8"))
    assert words == old_words
    pairs = zip(numbers, old_numbers, strict=True)
    assert [pair for pair in pairs if not is_near(*pair)] == []


@pytest.fixture(scope="module")
def kept_cards():
    """Evidence cards by the arguments of their function, so that each is measured once."""
    return {}


USUAL_PLACES = ("pipe", "narrow", "dumb", "truecolor")
"""Places in which every run of the tests prints, and `-m slow` in the others."""


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(place, marks=[] if place in USUAL_PLACES else [pytest.mark.slow])
        for place in PLACES
    ],
)
def test_what_it_prints_fits_every_place(laboratory, place, monkeypatch, few_samples, kept_cards):
    monkeypatch.chdir(laboratory)
    measure = visualize.evidence

    def measured_once(study, *arguments, **named):
        key = repr((arguments, named))
        if key not in kept_cards:
            kept_cards[key] = measure(study, *arguments, **named)
        return kept_cards[key]

    monkeypatch.setattr(visualize, "evidence", measured_once)
    for name in ("sample", "copies", "numbers", "evidence", "losses"):
        ran = run_line(LINES[name].split(), **PLACES[place])
        assert (ran.code, faults(LINES[name].split(), ran, **PLACES[place])) == (0, []), name
