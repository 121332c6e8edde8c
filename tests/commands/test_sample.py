"""`charrnn sample` as a whole: the text and nothing else, the same for the same seed wherever it
goes."""

import io
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import Ran, as_json, clean_environment
from streams import Terminal

import charrnn
from charrnn.cli.arguments import parse_text
from charrnn.commands.sample_output import write


def with_newline(text):
    return text if text.endswith("\n") else text + "\n"


def test_the_same_seed_gives_the_same_bytes_wherever_they_go(command, process, lab):
    """The last of several seeds counts; the text is that of the library at the temperature of the
    command line."""
    assert len(as_json(command("sample", "--seed", 0, "--json"))["text"]) == 1000, "the default"
    assert command("sample", "--length", 0).out == ""
    by_seed = {
        seed: command("sample", "--seed", 0, "--seed", seed, "--length", 200) for seed in (0, 1)
    }
    model = charrnn.load(lab)
    for seed, ran in by_seed.items():
        text = model.sample(temperature=0.8, seed=seed, length=200).text
        assert ran == Ran(0, with_newline(text), "Run: lstm-001\n")
    assert (
        as_json(command("sample", "--seed", 1, "--length", 200, "--json"))["text"] in by_seed[1].out
    )
    piped = process("-m", "charrnn", "sample", "-q", "--seed", 1, "--length", 200)
    assert (piped.returncode, piped.stderr, piped.stdout) == (0, b"", by_seed[1].out.encode())


def test_a_typed_prime_comes_first_and_one_from_a_file_or_a_pipe_is_not_repeated(command, lab):
    prime, options = "molu tarn.\n\nif ", ("sample", "--seed", 0, "--length", 30)
    Path("prime.txt").write_bytes(prime.encode())
    printed = command(*options, "--prime", prime).out
    expected = charrnn.load(lab).sample(seed=0, temperature=0.8, prime=prime, length=30).text
    assert printed == with_newline(prime + expected)
    assert prime + command(*options, "--prime", "@prime.txt").out == printed
    assert prime + command(*options, "--prime", "@-", stdin=prime.encode()).out == printed
    assert as_json(command(*options, "--prime", "@prime.txt", "--json"))["prime"] == prime


def test_a_text_without_a_prime_begins_as_texts_begin(command, lab):
    """What is read first is not printed; an empty prime is the newline alone."""
    model = charrnn.load(lab)
    options = ("sample", "--seed", 0, "--length", 30)
    opening = model.vocab.decode(model.generator.encode_prime(None))
    begun = model.sample(prime=opening, seed=0, length=30, temperature=0.8).text
    anywhere = model.sample(prime="\n", seed=0, length=30, temperature=0.8).text
    assert opening.endswith("\n\n"), "the training text has blank lines"
    assert command(*options).out == with_newline(begun)
    assert command(*options, "--prime", "").out == with_newline(anywhere)
    assert command(*options, "--prime", "@-").out == with_newline(anywhere)


def test_json_tells_no_prime_from_an_empty_one(command, lab):
    options = ("sample", "--seed", 0, "--length", 30, "--json")
    assert as_json(command(*options))["prime"] is None
    assert as_json(command(*options, "--prime", ""))["prime"] == ""


def test_a_prime_that_begins_with_an_at_sign_begins_with_two(command, byte_run):
    ran = command("sample", byte_run.path, "--seed", 0, "--length", 30, "--prime", "@@here")
    assert ran.code == 0
    assert ran.out.startswith("@here")
    missing = command("sample", byte_run.path, "--prime", "@here")
    assert missing.code == 3
    assert "a text that begins with @ begins with @@" in missing.err


def test_a_byte_model_takes_any_prime_and_writes_text(process, command, byte_run):
    text = command("sample", "--seed", 0, byte_run.path, "--prime", "Ж語 ", "--length", 400).out
    line = (
        "-m",
        "charrnn",
        "sample",
        byte_run.path,
        "--prime",
        "Ж語 ",
        "--seed",
        0,
        "--length",
        400,
    )
    piped = process(*line, LC_ALL="C")
    assert (piped.returncode, piped.stderr) == (0, b"")
    assert piped.stdout.decode("utf-8") == text, "whole characters in UTF-8, in any locale"
    assert text.startswith("Ж語 ")
    assert any(ord(character) > 127 and character != "\ufffd" for character in text[3:])
    assert len(text.encode("utf-8", "replace")) >= 400


def test_a_reader_that_has_enough_ends_it_quietly(lab, tmp_path):
    # So much takes a minute, and is not so much that a loop is compiled first.
    line = [sys.executable, "-m", "charrnn", "sample", "-q", "--seed", "0", "--length", "99999"]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        line, cwd=tmp_path, env=clean_environment(PYTHONUNBUFFERED="1"), **pipes
    ) as process:
        assert len(process.stdout.read(10)) == 10
        process.stdout.close()
        assert (process.stderr.read(), process.wait(timeout=600)) == (b"", 0)


def test_writing_imports_no_torch(process, lab):
    script = """
import sys
from charrnn.commands.app import run
for line in ("sample -q --seed 0 --length 20", "sample -q --beam 2 --length 5", "predict -q zib"):
    assert run(line.split()) == 0
print(sorted({"torch", "rich", "numpy", "pydantic"} & {*sys.modules}), file=sys.stderr)
"""
    ran = process("-c", script)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.split() == [b"['numpy',", b"'rich']"], "rich draws the table of `predict`"


@pytest.mark.parametrize("chunks", [["a\r\nb\r", "\nc\rd"], [*"a\r\nb\r\nc\rd"]])
def test_a_terminal_shows_the_line_ends_of_windows_as_lines(chunks, monkeypatch):
    terminal, pipe = Terminal(), io.StringIO()
    monkeypatch.setattr("sys.stdout", terminal)
    write(chunks)
    assert terminal.getvalue() == "".join(chunks).replace("\r\n", "\n").replace("\r", "␍") + "\n"
    monkeypatch.setattr("sys.stdout", pipe)
    write(chunks)
    assert pipe.getvalue() == "".join(chunks) + "\n"


@pytest.mark.parametrize(
    "typed, text",
    [
        ("\\n", "\n"),
        ("\\t", "\t"),
        ("\\\\", "\\"),
        ("\\\\n", "\\n"),
        ("a\\\\\\nb", "a\\\nb"),
        ("é", "é"),
    ],
)
def test_a_typed_text_has_escapes(typed, text):
    assert parse_text("--stop", typed) == text


SUFFIXES = (".txt", ".svg", ".html", ".png")
SEVERAL_TEXTS = {
    "temperatures": (("--temp", "0.2,0.8,1.5", "--seed", 3), "--- temperature 1.5 ---"),
    "beams": (("--beam", 3, "--count", 2), "--- 2 of 2: log-probability "),
    "the best beam": (("--beam", 3), "xyz"),
    "samples": (("--count", 2, "--seed", 3), "xyz"),
}


@pytest.mark.parametrize("options, shown", SEVERAL_TEXTS.values(), ids=SEVERAL_TEXTS)
def test_texts_are_exported_as_the_terminal_shows_them(command, alphabet_run, options, shown):
    line = ("sample", alphabet_run, *options, "--length", 50, "--prime", "xyz")

    exported = [command(*line, "--export", f"texts{suffix}") for suffix in SUFFIXES]

    assert [ran.out for ran in exported] == [f"texts{suffix}\n" for suffix in SUFFIXES]
    printed = command(*line).out
    assert shown in printed
    assert Path("texts.txt").read_text("utf-8") == printed
    picture = ElementTree.parse("texts.svg").getroot()
    rows = ["".join(row.itertext()) for row in picture.iter("{http://www.w3.org/2000/svg}text")]
    # No viewer joins blanks that do not break.
    assert [row.replace("\xa0", " ") for row in rows] == [row for row in printed.split("\n") if row]
    assert printed in Path("texts.html").read_text("utf-8")


def test_exported_beams_steer_no_terminal(command, byte_run):
    line = ("sample", byte_run.path, "--beam", 2, "--length", 20, "--prime", "<b>&\x1b[1m\r\n")
    assert command(*line, "--export", "beam.svg", "--quiet") == Ran(0, "beam.svg\n", "")
    picture = "".join(ElementTree.parse("beam.svg").getroot().itertext())
    assert "<b>&␛[1m" in picture and "\r" not in picture
