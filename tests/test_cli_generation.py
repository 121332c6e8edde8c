"""`charrnn sample`, option by option: several texts, stop strings, bans, temperatures side by side, beams, novelty."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pytest
from built_runs import build_chain
from conftest import Ran, TrainedRun
from test_cli_sample import Terminal

import charrnn
from charrnn.generation.writing import find_loop

Command = Callable[..., Ran]
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def json_lines(ran: Ran) -> list[dict[str, Any]]:
    assert (ran.code, ran.err) == (0, "")
    return [json.loads(line) for line in ran.out.splitlines()]


def text_of(ran: Ran) -> str:
    assert (ran.code, ran.err) == (0, "")
    return ran.out


def test_a_stop_string_ends_each_text_before_it_or_after_it(command: Command, lab: Path) -> None:
    options = ("sample", "--seed", 0, "--length", 1000)
    whole = text_of(command(*options))
    line = whole.split("\n")[0] + "\n"
    assert text_of(command(*options, "--stop", "no such text", "--stop", "\\n")) == line
    assert text_of(command(*options, "--stop", "\\n", "--keep-stop")) == line
    found = json_lines(command(*options, "--stop", "or", "--count", 4, "--json"))
    assert len({len(one["text"]) for one in found}) > 1, "each ends where it ends"
    assert all("or" not in one["text"] and len(one["text"]) == len(one["logprobs"]) for one in found)


def test_temperatures_stand_side_by_side_where_there_is_room(command: Command, lab: Path) -> None:
    options = ("sample", "--seed", 0, "--temps", "0.2,0.7,1.5", "--length", 100)
    shown = text_of(command(*options))
    header = next(line for line in shown.splitlines() if "temperature" in line)
    assert header.split() == ["temperature", "0.2", "temperature", "0.7", "temperature", "1.5"]
    assert max(map(len, shown.splitlines())) <= 80
    model, found = charrnn.load(lab), json_lines(command(*options, "--json"))
    assert [(one["temperature"], one["text"]) for one in found] == [
        (t, model.sample(seed=0, length=100, temperature=t).text) for t in (0.2, 0.7, 1.5)
    ]
    assert all(one["text"][:10].split()[0] in "".join(shown.split()) for one in found)
    shown = text_of(command("sample", "--seed", 0, "--temps", "0.2,0.4,0.6,0.8,1,1.2", "--length", 50))
    headings = [line for line in shown.splitlines() if line.startswith("temperature ")]
    assert headings == [f"temperature {t}" for t in ("0.2", "0.4", "0.6", "0.8", "1", "1.2")]
    assert model.sample(seed=0, length=50, temperature=0.6).text in shown


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_the_log_probabilities_are_the_model_s_to_the_precision_of_its_weights(
    command: Command, lab: Path, precision: str
) -> None:
    (found,) = json_lines(command("sample", "--seed", 0, "--length", 300, "--precision", precision, "--json"))
    trace = charrnn.load(lab).trace("\n" + found["text"])
    error = abs(sum(found["logprobs"]) - float(trace.logprobs[1:].sum())) / 300
    assert error < (0.02 if precision == "int8" else 1e-5), "nats per character"


@pytest.mark.parametrize(
    ("options", "num_shown"),
    [
        ({}, 1),
        ({"mode": "diverse", "groups": 2, "diversity": 9.0}, 4),
        ({"mode": "diverse", "count": 1}, 1),
        ({"mode": "stochastic", "seed": 3}, 4),
        ({"mode": "stochastic", "seed": 3, "count": 3}, 3),
    ],
)
def test_the_texts_of_a_search_are_those_of_the_library_numbered_best_first(
    command: Command, alphabet_run: Path, options: dict[str, Any], num_shown: int
) -> None:
    flags = [part for name, value in options.items() for part in (f"--{name}".replace("--mode", "--beam-mode"), value)]
    line = ("sample", alphabet_run, "--beam", 4, "--length", 12, "--prime", "xy", *flags)
    (found,) = json_lines(command(*line, "--json"))
    given = {name: value for name, value in options.items() if name != "count"}
    expected = charrnn.load(alphabet_run).beam(width=4, length=12, prime="xy", **given)
    if "stochastic" in flags:  # drawn in another order than that of their probability
        expected = sorted(expected, key=lambda text: -text.logprob)
    beams = found["beams"]
    assert (found["text"], found["seed"]) == (beams[0]["text"], options.get("seed"))
    assert {beam["text"] for beam in beams} <= {text.text for text in expected} and len(beams) in (num_shown, 4)
    if "count" not in options:
        assert [(beam["text"], beam["score"]) for beam in beams] == [(text.text, text.score) for text in expected]
    key = "logprob" if "stochastic" in flags else "score"
    assert [beam[key] for beam in beams] == sorted((beam[key] for beam in beams), reverse=True)
    parts = [
        (f"--- {number} of {num_shown}: log-probability {beam['logprob']:.2f} nats ---\n" if num_shown > 1 else "")
        + f"xy{beam['text']}".removesuffix("\n")
        + "\n"
        for number, beam in enumerate(beams[:num_shown], start=1)
    ]
    assert text_of(command(*line)) == "\n".join(parts)


def seed_of(ran: Ran) -> int:
    """The fresh seed that a command named, which is all that it said."""
    match = re.fullmatch(r"seed (\d+)\n", ran.err)
    assert match is not None and ran.code == 0, ran.err
    return int(match[1])


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--count", 3, "--json"),
        ("--temps", "1,3"),
        ("--show-cell", "0:1"),
        ("--beam", 4, "--beam-mode", "stochastic"),
    ],
    ids=lambda options: " ".join(map(str, options)),
)
def test_without_a_seed_each_call_draws_one_and_names_it(
    command: Command, alphabet_run: Path, options: tuple[object, ...]
) -> None:
    hot = () if "--temps" in options or "--beam" in options else ("--temp", 4)
    options = ("sample", alphabet_run, "--length", 60, *hot, *options)
    drawn = [command(*options) for _ in range(2)]
    seeds = [seed_of(ran) for ran in drawn]
    # Two of 2^31 are the same once in two thousand million tries.
    assert len(set(seeds)) == len({ran.out for ran in drawn}) == 2
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert text_of(command(*options, "--seed", seeds[0])) == drawn[0].out
    if "--json" in options:
        assert [json.loads(line)["seed"] for line in drawn[1].out.splitlines()] == [seeds[1]] * 3
    quiet = command(*options, "--quiet")
    assert (quiet.code, quiet.err) == (0, "") and quiet.out not in {ran.out for ran in drawn}


def test_nothing_is_said_of_a_seed_that_nothing_is_drawn_with(command: Command, alphabet_run: Path) -> None:
    greedy = (("--temp", 0), ("--temp", 0, "--count", 2), ("--temps", "0"), ("--temp", 0, "--show-cell", "0:1"))
    for options in (("--beam", 3), ("--beam", 3, "--beam-mode", "diverse"), ("--seed", 0), *greedy):
        text_of(command("sample", alphabet_run, "--length", 20, *options))
    refused = command("sample", alphabet_run, "--top-p", 7)
    assert refused.code == 2 and "seed" not in refused.err


@pytest.mark.parametrize("options", [(), ("--show-cell", "0:1"), ("--count", 2)])
def test_the_seed_comes_before_the_prime_on_a_terminal(
    command: Command, alphabet_run: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[object, ...]
) -> None:
    """Both streams are the same terminal: the seed must not land between the prime and what continues it."""
    terminal = Terminal()
    monkeypatch.setattr("charrnn.generation.generator.GROUP_CHARS", 30)  # so that two texts are drawn one by one
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr("sys.stderr", terminal)
    assert command("sample", alphabet_run, "--length", 20, "--prime", "lmn", *options).code == 0
    seed, rest = terminal.getvalue().split("\n", 1)
    assert re.fullmatch(r"seed \d+", seed)
    assert COLOUR.sub("", rest).startswith("lmn") and "seed" not in rest


def test_a_text_that_goes_round_in_circles_is_remarked_on(command: Command, loop_run: Path) -> None:
    options = ("sample", loop_run, "--beam", 3, "--length", 300)
    ran = command(*options)
    assert find_loop(ran.out[:-1]) is not None, "the premise: this model's likeliest text is a loop"
    assert "the text ends in a loop: its last" in ran.err and "--no-repeat 20" in ran.err
    assert command(*options, "--quiet").err == ""
    assert find_loop(text_of(command(*options, "--no-repeat", 20))[:-1]) is None
    assert "a higher --temp" in command("sample", loop_run, "--seed", 0, "--temp", 0, "--length", 400).err


def test_novelty_marks_what_stands_in_the_training_text(command: Command, tmp_path: Path) -> None:
    """The model writes the alphabet over and over; its text holds the first half of it."""
    text = "abcdefghijklm\n" * 300
    path = tmp_path / "half.txt"
    path.write_bytes(text.encode())
    run = build_chain(tmp_path / "half-001", "\n" + ascii_lowercase, corpus=path)
    options = ("sample", run, "--seed", 0, "--temp", 0.3, "--novelty", "--min-copy", 12, "--prime", "wxyz", "--length")
    (found,) = json_lines(command(*options, 60, "--json"))
    longest = found["novelty"]["longest"]
    copied = found["text"][longest["start"] : longest["start"] + longest["length"]]
    assert longest["length"] >= 12 and copied in text[: longest["source"] + longest["length"]]
    assert 0 < found["novelty"]["share_copied"] < 1
    shown = text_of(command(*options, 60))
    assert shown.startswith("wxyz\n") and f"{longest['length']} characters" in shown and "━" in shown
    assert "held-out: the same share of validation text" in shown
    assert max(map(len, shown.splitlines())) <= 80
    short = command(*options, 11)
    assert "the text has 11 characters, and copies of 12 or more count: give a smaller --min-copy" in short.err
    assert "copied" in text_of(command("sample", run, "--beam", 4, "--length", 100, "--novelty", "--quiet"))


def test_bytes_that_are_no_text_are_read_as_they_were_typed(command: Command, byte_run: TrainedRun) -> None:
    Path("prime").write_bytes(b"\xff\xfe")
    typed = command("sample", "--seed", 0, byte_run.path, "--prime", "\udcff\udcfe", "--length", 40, "--json")
    from_file = command("sample", "--seed", 0, byte_run.path, "--prime-file", "prime", "--length", 40, "--json")
    assert typed.code == 0 and typed.out == from_file.out


def test_a_long_prime_is_read_in_blocks_and_once(lstm: TrainedRun) -> None:
    model, read = charrnn.load(lstm.path), []
    prime = "zib molu " * 400
    first = model.sample(seed=0, prime=prime, length=20, on_read=read.append)
    assert sum(read) == len(prime) and max(read) <= 1024 < len(prime)
    assert model.sample(seed=0, prime=prime, length=20, on_read=read.append) == first
    assert sum(read) == len(prime), "the second time it was remembered"
