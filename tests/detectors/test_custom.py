"""A user's own detector, from a regular expression or a file."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import charrnn
from charrnn.detectors.registry import custom_detector
from charrnn.errors import UsageError

PATTERNS = {
    "inside matches": (r"\d+", "a 12 b 3", "..QQ...Q"),
    "at every line": (r"^b+", "ab\nbb\nb b", "...QQ.Q.."),
    "matches that touch": (r"ab", "ababa", "QQQQ."),
    "none at all": (r"(?=a)", "aaa", "..."),
}


@pytest.mark.parametrize("spec, text, expected", PATTERNS.values(), ids=PATTERNS.keys())
def test_a_pattern_labels_what_it_matches(spec, text, expected):
    detector = custom_detector(spec)
    labels = detector.label(text)
    assert labels.dtype == bool
    assert detector.looks_for == f"inside matches of {spec}"
    assert "".join(".Q"[inside] for inside in labels.tolist()) == expected


@pytest.mark.parametrize(
    "spec, message",
    [
        ("(a", r"The detector '\(a' is not a regular expression: .*position 0\. Write "),
        (
            "x*",
            (
                r"The detector 'x\*' matches the empty text, so everywhere\. Write x\+ rather than"
                r" x\*\."
            ),
        ),
    ],
)
def test_a_pattern_that_cannot_be_used_says_so(spec, message):
    with pytest.raises(UsageError, match=message):
        custom_detector(spec)


@pytest.mark.parametrize("flag", ["(?i)", "(?P<vowel>)", "(x)?"])
def test_each_spelling_of_a_pattern_keeps_its_flags_and_groups(flag):
    """Joined by | they would be no expression, or one whose groups have other numbers."""
    detector = custom_detector(f"{flag}e\u0301", spellings=[f"{flag}\xe9"])
    assert detector.label("e\u0301 \xe9 e").tolist() == [True, True, False, True, False, False]
    assert detector.name == f"{flag}e\u0301"


def write(folder, code):
    path = folder / "mine.py"
    path.write_text(code, encoding="utf-8")
    return str(path)


def test_a_file_labels_each_character(tmp_path):
    for code, expected in (
        ("def label(text):\n    return [c == 'a' for c in text]\n", [True, False, True]),
        ("def label(text):\n    return tuple(map(ord, text))\n", [97, 98, 97]),
        (
            (
                "import numpy as np\ndef label(text):\n    return np.arange(len(text),"
                " dtype=np.uint8)\n"
            ),
            [0, 1, 2],
        ),
        ("def label(text):\n    return [True, 2, False]\n", [1, 2, 0]),
    ):
        detector = custom_detector(write(tmp_path, code))
        labels = detector.label("aba")
        assert labels.tolist() == expected
        assert labels.dtype == (
            bool if {type(value) for value in labels.tolist()} == {bool} else np.int64
        )
        assert detector.name == "mine.py"
        assert not (tmp_path / "__pycache__").exists()


def test_only_the_option_detect_leads_to_where_a_file_is_executed():
    package = Path(charrnn.__file__).parent
    users = {
        path.name for path in package.rglob("*.py") if "custom_detector" in path.read_text("utf-8")
    }
    assert users == {"registry.py", "visualize.py"}


def test_no_other_name_or_file_is_executed(command, alphabet_run, tmp_path):
    executed = tmp_path / "executed"
    code = (
        f"open({str(executed)!r}, 'w').close()\ndef label(text):\n    return [True] * len(text)\n"
    )
    run = tmp_path / "run"
    shutil.copytree(alphabet_run, run)
    for folder in (tmp_path, run):
        for name in ("evil.py", "quote.py", "sitecustomize.py"):
            (folder / name).write_text(code, encoding="utf-8")
    assert command("export", run, "model.zip").code == 0
    with zipfile.ZipFile("model.zip", "a") as archive:
        archive.writestr("evil.py", code)
    ran = command("visualize --text evil.py --detector evil.py", run)
    assert ran.code != 0
    assert "There is no detector 'evil.py'" in ran.err, ran
    primed = command("sample --length 5 --prime @evil.py --unknown nearest", run)
    assert (primed.code, command("sample model.zip --length 5").code) == (0, 0)
    assert not executed.exists()
    custom_detector(str(run / "evil.py"))  # named: executed
    assert executed.exists()
