"""`charrnn sample` as a whole: the text and nothing else, the same for the same seed wherever it
goes."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from built_runs import build_chain
from conftest import Ran, as_json

import charrnn
from charrnn.cli.arguments import parse_text
from charrnn.text.word_list import words_in


def with_newline(text):
    return text if text.endswith("\n") else text + "\n"


def test_the_same_seed_gives_the_same_bytes_wherever_they_go(command, process, lab):
    """The text is that of the library at the temperature of the command line."""
    assert len(as_json(command("sample --seed 0 --json"))["text"]) == 1000, "the default"
    assert command("sample --length 0").out == ""
    by_seed = {seed: command("sample --seed", seed, "--length", 200) for seed in (0, 1)}
    model = charrnn.load(lab)
    for seed, ran in by_seed.items():
        text = model.sample(temperature=0.8, seed=seed, length=200).text
        assert ran == Ran(0, with_newline(text), "Run: lstm-001\n")
    assert as_json(command("sample --seed 1 --length 200 --json"))["text"] in by_seed[1].out
    piped = process("-m", "charrnn", "sample", "-q", "--seed", 1, "--length", 200)
    assert (piped.returncode, piped.stderr, piped.stdout) == (0, b"", by_seed[1].out.encode())


def test_a_typed_prime_comes_first_and_one_from_a_file_or_a_pipe_is_not_repeated(command, lab):
    prime, line = "molu tarn.\n\nif ", "sample --seed 0 --length 30 --prime"
    Path("prime.txt").write_bytes(prime.encode())
    printed = command(line, prime).out
    expected = charrnn.load(lab).sample(seed=0, temperature=0.8, prime=prime, length=30).text
    assert printed == with_newline(prime + expected)
    assert prime + command(f"{line} @prime.txt").out == printed
    assert prime + command(f"{line} @-", stdin=prime.encode()).out == printed
    assert as_json(command(f"{line} @prime.txt --json"))["prime"] == prime


def test_a_text_without_a_prime_begins_as_texts_begin(command, lab):
    """What is read first is not printed; an empty prime is the newline alone."""
    model = charrnn.load(lab)
    options = "sample --seed 0 --length 30"
    opening = model.vocab.decode(model.generator.encode_prime(None))
    begun = model.sample(prime=opening, seed=0, length=30, temperature=0.8).text
    anywhere = model.sample(prime="\n", seed=0, length=30, temperature=0.8).text
    assert opening.endswith("\n\n"), "the training text has blank lines"
    assert command(options).out == with_newline(begun)
    assert command(options, "--prime", "").out == with_newline(anywhere)
    assert command(options, "--prime", "@-").out == with_newline(anywhere)


def test_every_word_of_a_text_is_one_of_the_training_text(command, lab):
    """At a temperature at which the model invents words without the option."""
    model = charrnn.load(lab)
    forms = model.word_list.all_forms
    options = "sample --seed 1 --length 2000 --temp 1.5"
    known = command(options, "--known-words")
    assert (known.code, known.err) == (0, f"Run: {lab.name}\n")
    assert {*words_in(known.out)[:-1]} <= forms
    assert not {*words_in(command(options).out)[:-1]} <= forms
    assert len({*words_in(known.out)}) > 10
    expected = model.sample(seed=1, length=2000, temperature=1.5, known_words=True).text
    assert known.out == with_newline(expected)


def test_each_of_several_texts_has_known_words(command, lab):
    forms = charrnn.load(lab).word_list.all_forms
    ran = command("sample --seed 1 --count 3 --length 200 --temp 1.5 --known-words --json")
    texts = [json.loads(line) for line in ran.out.splitlines()]
    assert len(texts) == 3 and all(text["known_words"] for text in texts)
    assert all({*words_in(text["text"])[:-1]} <= forms for text in texts)


def test_a_beam_has_known_words(command, lab):
    forms = charrnn.load(lab).word_list.all_forms
    ran = command("sample --beam 3 --count 3 --length 30 --known-words --prime m --json")
    assert ran.code == 0, ran.err
    for line in ran.out.splitlines():
        assert {*words_in("m" + json.loads(line)["text"])[:-1]} <= forms


@pytest.mark.parametrize("option", ["--clamp 0:1=1", "--color 0:1 --json", "--precision fp32"])
def test_another_option_leaves_the_words_known(command, lab, option):
    forms = charrnn.load(lab).word_list.all_forms
    ran = command(f"sample --seed 1 --length 300 --temp 1.5 --known-words {option}")
    text = json.loads(ran.out)["text"] if "--json" in option else ran.out
    assert len(text) >= 300 and {*words_in(text)[:-1]} <= forms


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--known-words --prime zi --ban", "--known-words and --ban let no character follow"),
        ("--no-repeat 1", "--no-repeat let no character follow"),
    ],
)
def test_a_beam_that_nothing_may_follow_says_so(command, lab, options, reason):
    """A beam of a single text cannot choose another way."""
    parting = [one for one in charrnn.load(lab).vocab.characters if one and not one.isalpha()]
    banned = ["".join(parting).replace("\n", "\\n")] if options.endswith("--ban") else []
    ran = command("sample --beam 1 --length 200 --json", *options.split(), *banned)
    text = json.loads(ran.out)
    assert "the text ends after " in ran.err and f": {reason}\n" in ran.err
    assert text["dead_end"]["num_chars"] == len(text["text"]) < 200


def test_a_text_whose_words_must_match_and_not_copy_may_end_early_and_says_so(command, lab):
    ran = command("sample --seed 1 --length 300 --known-words --no-copy 5")
    note = re.search(
        r"the text ends after (\d+) characters: --known-words and --no-copy let", ran.err
    )
    assert note is not None, ran.err
    assert len(ran.out.removesuffix("\n")) == int(note[1])


def test_an_expression_that_no_known_word_matches_is_refused_before_anything_is_drawn(command, lab):
    ran = command("sample --known-words --match qqq --seed 1")
    ran.assert_refused(
        2, "--match is 'qqq', which no text of at most 1,000 characters matches whose words"
    )


def test_known_words_of_a_text_that_is_gone_are_refused(command, tmp_path):
    text = tmp_path / "gone.txt"
    text.write_text("abcd \n" * 50)
    run = build_chain(tmp_path / "alone", "abcd \n", corpus=text)
    text.unlink()
    ran = command("sample --known-words", run)
    ran.assert_refused(3, "`charrnn export alone FILE` with --known-words would have kept them")


@pytest.mark.trained
def test_a_run_knows_its_own_words_and_those_of_the_included_model_before_it(command, tmp_path):
    """Directly, and through a run between them, whose own words are none."""
    for name, word in (("first", "zorblin"), ("second", "vexquat")):
        (tmp_path / f"{name}.txt").write_text(f"the {word} said no, and\n" * 300)
    command("train first.txt --init-from prose --steps 1 --out one --quiet")
    command("train second.txt --init-from one --steps 1 --out two --quiet")
    forms = [charrnn.load(run).word_list.all_forms for run in ("one", "two")]
    assert all(charrnn.load("prose").word_list.all_forms < known for known in forms)
    assert {"zorblin", "Vexquat"} & forms[0] == {"zorblin"}
    assert {"zorblin", "Vexquat"} & forms[1] == {"Vexquat"}


def test_known_words_of_bytes_are_refused(command, byte_run):
    ran = command("sample --known-words", byte_run.path)
    ran.assert_refused(2, "--known-words does not go with")
    assert "which reads bytes" in ran.err


def test_a_byte_model_takes_any_prime_and_writes_text(process, command, byte_run):
    text = command("sample --seed 0 --length 400 --prime", "Ж語 ", byte_run.path).out
    line = "-m charrnn sample --seed 0 --length 400 --prime"
    piped = process(*line.split(), "Ж語 ", byte_run.path, LC_ALL="C")
    assert (piped.returncode, piped.stderr) == (0, b"")
    assert piped.stdout.decode("utf-8") == text, "whole characters in UTF-8, in any locale"
    assert text.startswith("Ж語 ")
    assert any(ord(character) > 127 and character != "\ufffd" for character in text[3:])
    assert len(text.encode("utf-8", "replace")) >= 400


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


@pytest.mark.parametrize(
    "options, noted",
    [
        (
            r"--prime \nab",
            "--prime: \\n stands for a newline. For \\nab, type a second backslash: \\\\nab",
        ),
        (r"--stop \tab", "--stop: \\t stands for a tab."),
        (r"--prime \\nab", None),
        (r"--prime \nAb", None),
    ],
)
def test_an_escape_that_may_be_a_word_is_noted_where_the_model_knows_the_backslash(
    command, tmp_path, options, noted
):
    build_chain(tmp_path / "latex", "\\\nabAt\tn")
    ran = command("sample latex --length 3", *options.split())
    assert ran.code == 0
    assert (noted or "") in ran.err and ("stands for" in ran.err) == bool(noted)
    build_chain(tmp_path / "plain", "\nabAt\tn")
    assert "stands for" not in command("sample plain --length 3", *options.split()).err


@pytest.mark.parametrize("options, shown", SEVERAL_TEXTS.values(), ids=SEVERAL_TEXTS)
def test_texts_are_exported_as_the_terminal_shows_them(command, alphabet_run, options, shown):
    line = ("sample --length 50 --prime xyz", alphabet_run, *options)

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
