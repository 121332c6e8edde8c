"""Detectors that installed packages offer through entry points."""

import sys

import numpy as np
import pytest
from fake_packages import install_names

from charrnn.detectors.detector import Detector
from charrnn.detectors.registry import DETECTORS, get_detectors
from charrnn.errors import UsageError
from charrnn.hooks import manager

FUNCTION = '''
def label(text):
    """Inside a vowel.

    More about it.
    """
    print("labelling")
    return [character in "aeiou" for character in text]
'''
LABEL = "def label(text):\n    "


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Install a package that offers `name` as a detector, until the test ends."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def call(name, code, *, target="rhyme_marks:label", package="rhymes"):
        install_names(tmp_path, package, "detectors", {name: target}, rhyme_marks=code)

    yield call
    sys.modules.pop("rhyme_marks", None)
    monkeypatch.undo()
    manager.forget()


def test_a_function_is_a_detector_described_by_its_docstring(offer, capsys):
    offer("vowels", FUNCTION)
    (detector,) = get_detectors(["vowels"])
    assert (detector.name, detector.looks_for) == ("vowels", "Inside a vowel")
    labels = detector.label("lamp")
    assert labels.dtype == bool
    assert labels.tolist() == [False, True, False, False]
    assert capsys.readouterr() == ("", "labelling\n"), "stdout is for results"


def test_a_detector_is_one_with_the_name_that_is_offered(offer):
    code = (
        "from charrnn.detectors.detector import Detector\nlabel = Detector('other', 'vowels',"
        " lambda text: None)"
    )
    offer("vowels", code)
    (detector,) = get_detectors(["vowels"])
    assert (detector.name, detector.looks_for, detector.label("lamp")) == ("vowels", "vowels", None)


def test_only_the_detectors_that_are_named_are_loaded_and_unknown_names_compared_with_them(offer):
    offer("vowels", "raise RuntimeError")
    with pytest.raises(
        UsageError,
        match=r"^There is no detector 'vowel'\. Did you mean vowels\?.* quote, .*, vowels\.",
    ):
        get_detectors(["vowel"])
    assert get_detectors(["quote"]) == [DETECTORS["quote"]]
    own = Detector("own", "", lambda text: np.zeros(len(text), bool))
    assert get_detectors([own]) == [own]


@pytest.mark.parametrize(
    "code, target, message",
    [
        (
            "x = 1\n1 / 0\n",
            "rhyme_marks:label",
            r"failed in .*rhyme_marks\.py, line 2: ZeroDivisionError: division",
        ),
        (
            "",
            "no_such_marks:label",
            r"failed: ModuleNotFoundError: No module named 'no_such_marks'",
        ),
        (
            "label = 3\n",
            "rhyme_marks:label",
            r"is neither a Detector nor a function label\(text\), but int\.",
        ),
        (
            f"{LABEL}return 1 / 0\n",
            "rhyme_marks:label",
            r"failed in .*rhyme_marks\.py, line 2: ZeroDivisionError",
        ),
        (
            f"{LABEL}return [True]\n",
            "rhyme_marks:label",
            r"must return a bool or an int for each of the 3 .*returned \[True\]\.",
        ),
    ],
)
def test_a_plugin_that_fails_names_its_package(offer, code, target, message):
    offer("vowels", code, target=target)
    with pytest.raises(
        UsageError, match=r"^The detector 'vowels' of the package rhymes 1\.0 " + message
    ):
        get_detectors(["vowels"])[0].label("aba")


def test_one_name_is_a_choice_too():
    assert get_detectors("quote") == get_detectors(["quote"]) == [DETECTORS["quote"]]
