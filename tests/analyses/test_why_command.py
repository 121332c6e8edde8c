"""`charrnn predict --why` on the screen, in files and for programs."""

import csv
import json
from pathlib import Path

import pytest
from conftest import as_json

import charrnn


def test_it_shows_the_text_the_strongest_and_a_sentence(lab, command):
    ran = command("predict lstm-001", "the lamp said (it", "--why", ")")
    assert ran.code == 0
    why = charrnn.load("lstm-001").why("the lamp said (it", ")")
    out = " ".join(ran.out.split())
    assert f"next (model lstm-001): probability {why.probability:.4f}" in out
    assert "the lamp said (it" in out
    assert "carried by" in out and "Effects must not be added" in out
    assert out.endswith(why.sentence)


def test_programs_get_every_effect(lab, command):
    found = as_json(command("predict lstm-001", r"a\nb", "--why", "next", "--json"))
    why = charrnn.load("lstm-001").why("a\nb")
    assert found == json.loads(json.dumps({"run": "lstm-001"} | why.to_json()))
    assert len(found["effects"]) == len(found["probabilities"]) == len(found["text"]) == 3
    assert found["strongest"][0]["carriers"][0]["name"].startswith("0:")


@pytest.mark.parametrize("suffix", ["svg", "html", "png", "csv"])
def test_it_is_exported(lab, command, suffix):
    assert command("predict lstm-001 lamp --why s --export", f"why.{suffix}").code == 0
    assert Path(f"why.{suffix}").stat().st_size > 100


def test_a_table_has_a_row_for_each_character(lab, command):
    command("predict lstm-001 lamps --why next --chars 4 --export why.csv")
    rows = list(csv.DictReader(Path("why.csv").read_text("utf-8-sig").splitlines()))
    assert [row["character"] for row in rows] == [*"amps"]
    assert [row["distance"] for row in rows] == ["4", "3", "2", "1"]


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["lamp", "--why", ""], 2, "--why is empty: give a value, or leave it out"),
        (["lamp", "--why", "ab"], 2, "--why is 'ab'"),
        (["lamp", "--why", "end"], 2, "--why end is the end of a document"),
        (["l", "--why", "a"], 2, "1 character"),
        (["lamp", "--why", "語"], 3, "--unknown nearest"),
        (["lamp", "--why", r"\q"], 2, r"--why \q: \q has no meaning"),
        (["lamp", "--why", "a", "--chars", "2001"], 2, "square"),
        (["lamp", "--why", "a", "--numbers"], 2, "does not go with --numbers"),
    ],
)
def test_what_cannot_be_explained_is_refused_in_a_line(lab, command, arguments, code, message):
    ran = command("predict lstm-001", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err
    assert ran.err.count("\n") == 1


def test_a_byte_is_typed_by_its_number(byte_run, command):
    found = as_json(command("predict", byte_run.path, "zäb", "--why", r"\xc2", "--json"))
    assert found["character"] == r"\xc2"


def test_it_does_not_import_torch(alphabet_run, process):
    code = (
        "import sys; from charrnn.commands.app import run;"
        f" assert run(['predict', {str(alphabet_run)!r}, 'abc', '--why', 'next']) == 0;"
        " assert 'torch' not in sys.modules"
    )
    ran = process("-c", code)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"has a chance of" in ran.stdout


def test_without_colours_blocks_show_the_effects_and_words_are_read_aloud(
    alphabet_run, command, monkeypatch
):
    monkeypatch.setenv("NO_COLOR", "1")
    plain = command("predict", alphabet_run, "abc", "--why", "d").out
    assert "█" in plain.splitlines()[5] and "▔" in plain.splitlines()[4]
    monkeypatch.setenv("TERM", "dumb")
    words = command("predict", alphabet_run, "abc", "--why", "d").out
    assert "█" not in words and "underlined" in words
