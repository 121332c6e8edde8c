"""`charrnn sample`, option by option: several texts, stop strings, bans, temperatures side by side,
beams, provenance."""

import csv
import json
import math
import re
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
import pytest
from built_runs import build_chain
from command_lines import COLOUR
from streams import Terminal

import charrnn
from charrnn.generation.generated_text import GeneratedText, sorted_by_excess
from charrnn.views.heatmap import Legend


def json_lines(ran):
    assert (ran.code, ran.notes) == (0, "")
    return [json.loads(line) for line in ran.out.splitlines()]


def text_of(ran):
    assert (ran.code, ran.notes) == (0, "")
    return ran.out


def test_several_texts_are_a_table_the_most_likely_first(command, lab):
    line = "sample --count 5 --length 4 --seed 1 --unique --sort likely"
    assert command(line, "--export", "made.csv").code == 0
    with Path("made.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [*csv.DictReader(file)]
    logprobs = [float(row["logprob"]) for row in rows]
    assert len(rows) == 5 and logprobs == sorted(logprobs, reverse=True)
    assert float(rows[0]["logprob_per_char"]) == pytest.approx(logprobs[0] / 4)
    assert command(line).out.startswith(rows[0]["text"])


@pytest.mark.parametrize("options", ["--temp 0.2,1.5", "--count 2 --temp 1.5"])
def test_the_table_says_what_draws_each_text_again(command, lab, options):
    line = f"sample {options} --length 20 --seed 4 --export made.csv"
    assert command(line).code == 0
    with Path("made.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert len(rows) == 2
    for row in rows:
        again = f"sample --length 20 --temp {row['temperature']} --seed {row['seed']} --json"
        assert json.loads(command(again).out)["text"] == row["text"]


def test_texts_are_sorted_by_their_excess_over_all_of_them():
    losses = ([1.0, 2.0], [0.5] * 9, [3.0])
    texts = [GeneratedText(text="", logprobs=tuple(-nats for nats in one)) for one in losses]
    found = sorted_by_excess(texts)
    every = np.concatenate(losses)
    excess = [
        (np.sum(one) - len(one) * every.mean()) / every.std() / len(one) ** 0.5 for one in losses
    ]
    assert [text.excess for text in found] == pytest.approx(sorted(excess))
    assert [text.logprobs for text in found] == [texts[index].logprobs for index in (1, 0, 2)]
    assert sorted_by_excess([GeneratedText(text="", logprobs=())])[0].excess == 0


def test_the_log_probability_of_nothing_is_a_fraction_too(command):
    ran = command("sample prose --length 0 --json")
    assert '"logprob": 0.0,' in ran.out


def test_a_run_has_the_name_of_its_folder_inside_it(lab, monkeypatch):
    monkeypatch.chdir(lab)
    assert charrnn.load(".").name == lab.name


def test_a_seed_is_drawn_and_named(command, alphabet_run):
    line = ("sample --length 60 --temp 4", alphabet_run)
    first, second = command(*line), command(*line)
    # Two of 2^31 are the same once in two thousand million tries.
    assert first.code == 0 and first.out != second.out
    seed = re.fullmatch(r"seed (\d+)\n", first.err)[1]
    assert command(*line, "--seed", seed).out == first.out
    assert command(*line, "--quiet").err == ""
    records = json_lines(command(*line, "--seed", seed, "--count", 2, "--json"))
    assert [one["seed"] for one in records] == [int(seed), int(seed) + 2**32]


@pytest.mark.parametrize("options", [(), ("--color", "0:1"), ("--count", 2)])
def test_the_seed_comes_before_the_prime_on_a_terminal(command, alphabet_run, monkeypatch, options):
    """Both streams are the same terminal: the seed must not land between the prime and what
    continues it."""
    terminal = Terminal()
    monkeypatch.setattr(
        "charrnn.generation.generator.GROUP_CHARS", 30
    )  # so that two texts are drawn one by one
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr("sys.stderr", terminal)
    assert command("sample --length 20 --prime lmn", alphabet_run, *options).code == 0
    seed, rest = terminal.getvalue().split("\n", 1)
    assert re.fullmatch(r"seed \d+", seed)
    assert COLOUR.sub("", rest).startswith("lmn")
    assert "seed" not in rest


@pytest.mark.parametrize("alphabet", ["char", "byte"])
def test_characters_are_coloured_by_the_model_s_own_surprise(
    alphabet, command, lab, byte_run, monkeypatch
):
    run = byte_run.path if alphabet == "byte" else lab
    options = ("sample --seed 2 --length 60 --temp 2 --prime mo", run)
    shown = list[Any]()
    found = json_lines(command(*options, "--color", "surprise", "--json"))[0]
    plain = command(*options)
    assert command(*options, "--color", "surprise", "--quiet") == plain, "off a terminal"
    assert (
        "--color shows colours on a terminal, where FORCE_COLOR=1"
        in command(*options, "--color", "surprise").err
    )
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setattr("rich.console.Console.print", lambda _, what, **__: shown.append(what))
    assert command(*options, "--color", "surprise").code == 0
    assert isinstance(shown[0], Legend)
    assert "".join(one.coloured.text for one in shown[1:]) == "mo" + found["text"]
    unknown, bits = np.split([value for one in shown[1:] for value in one.coloured.values], [2])
    assert np.isnan(unknown).all() and len(bits) == len(found["text"]), "the prime is not coloured"
    if alphabet == "char":
        assert bits == pytest.approx([-nats / math.log(2) for nats in found["logprobs"]])


def test_a_document_is_exported_with_its_end(command, tmp_path):
    run = build_chain(tmp_path / "chain", "\0ab", documents="lines")
    for length in (1, 50):
        options = (f"sample --prime a --seed 1 --length {length}", run)
        command(*options, "--export", tmp_path / "x.json")
        found = json.loads((tmp_path / "x.json").read_text("utf-8"))
        coloured = json.loads(command(*options, "--color", "surprise", "--json").out)
        assert found == {"generator": "charrnn"} | coloured
        assert found["has_ended"] == (length == 50)


@pytest.mark.slow
def test_what_documents_have_counts_into_the_limit_of_a_picture(command, tmp_path, monkeypatch):
    monkeypatch.setattr("charrnn.commands.sample_options.MAX_PICTURE_CHARS", 2_200)
    characters = "".join(map(chr, range(0x4E00, 0x4E00 + 1_200)))
    run = build_chain(tmp_path / "chain", "\0" + characters, documents="lines")
    line = ("sample", run, "--temp", 0, "--count")
    refused = command(*line, 2, "--export", tmp_path / "x.svg")
    refused.assert_refused(2, "takes at most 2,200 characters", "2,40", "fewer texts")
    assert not (tmp_path / "x.svg").exists()
    assert command(*line, 2, "--export", tmp_path / "x.csv").code == 0
    assert command(*line, 1, "--export", tmp_path / "x.svg").code == 0


@pytest.mark.parametrize("num_chars", [1, 5, 30])
@pytest.mark.parametrize("prime", ["", "abcdef"])
def test_no_more_characters_in_a_row_are_copied(command, tmp_path, num_chars, prime):
    """The model writes the alphabet over and over, as its text does."""
    text = f"{ascii_lowercase}\n" * 300
    path = tmp_path / "half.txt"
    path.write_bytes(text.encode())
    run = build_chain(tmp_path / "half-001", "\n" + ascii_lowercase, corpus=path)
    options = ("sample --seed 0 --temp 0.3 --length 60 --prime", prime, run)

    written = command(*options, "--no-copy", num_chars).out.removesuffix("\n")

    assert len(written) == 60 + len(prime)
    longest = num_chars + 1
    for end in range(max(longest, len(prime) + 1), len(written) + 1):
        assert written[end - longest : end] not in text
    assert written != command(*options).out.removesuffix("\n")
