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
from charrnn.evaluation.loops import find_loop

Command = Callable[..., Ran]
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def json_lines(ran: Ran) -> list[dict[str, Any]]:
    assert (ran.code, ran.err) == (0, "")
    return [json.loads(line) for line in ran.out.splitlines()]


def text_of(ran: Ran) -> str:
    assert (ran.code, ran.err) == (0, "")
    return ran.out


def test_several_samples_are_independent_and_the_same_however_many(command: Command, lab: Path) -> None:
    three, five = (
        [found["text"] for found in json_lines(command("sample", "--seed", 0, "--count", n, "--length", 120, "--json"))]
        for n in (3, 5)
    )
    assert five[:3] == three and len(set(five)) == 5
    assert text_of(command("sample", "--seed", 0, "--length", 120)).rstrip("\n") == five[0].rstrip("\n"), (
        "the first is that of none"
    )
    printed = text_of(command("sample", "--seed", 0, "--count", 3, "--length", 120, "--prime", "zib "))
    primed = charrnn.load(lab).samples(3, seed=0, length=120, temperature=0.8, prime="zib ")
    texts = ["zib " + found.text for found in primed]
    assert printed == "\n".join(text if text.endswith("\n") else text + "\n" for text in texts)


def test_a_stop_string_ends_the_text_before_it_or_after_it(command: Command, lab: Path) -> None:
    whole = text_of(command("sample", "--seed", 0, "--length", 1000))
    stop = next(four for four in (whole[begin : begin + 4] for begin in range(200, 900)) if not {*"\n\\"} & {*four})
    first = whole.index(stop)
    stopped = ("sample", "--seed", 0, "--length", 1000, "--stop", stop)
    assert text_of(command(*stopped)).rstrip("\n") == whole[:first].rstrip("\n")
    assert text_of(command(*stopped, "--keep-stop")) == whole[: first + 4] + "\n"
    either = text_of(command("sample", "--seed", 0, "--length", 1000, "--stop", "no such text", "--stop", "\\n"))
    assert either == whole.split("\n")[0] + "\n"
    found = json_lines(command("sample", "--seed", 0, "--length", 1000, "--stop", "or", "--count", 4, "--json"))
    assert len({len(one["text"]) for one in found}) > 1, "each ends where it ends"
    assert all("or" not in one["text"] and len(one["text"]) == len(one["logprobs"]) for one in found)


def test_unknown_characters_of_a_prime_are_refused_left_out_or_read_as_the_nearest(command: Command, lab: Path) -> None:
    assert command("sample", "--seed", 0, "--prime", "zíb “Ж”").code == 3
    for way, read in (("skip", "zb "), ("nearest", 'zib ""')):
        ran = text_of(command("sample", "--seed", 0, "--prime", "zíb “Ж”", "--unknown", way, "--length", 40))
        assert ran == "zíb “Ж”" + text_of(command("sample", "--seed", 0, "--prime", read, "--length", 40))[len(read) :]
    assert command("sample", "--seed", 0, "--unknown", "guess").code == 2


def test_temperatures_stand_side_by_side(command: Command, lab: Path) -> None:
    shown = text_of(command("sample", "--seed", 0, "--temps", "0.2,0.7,1.5", "--length", 100))
    header = next(line for line in shown.splitlines() if "temperature" in line)
    assert header.split() == ["temperature", "0.2", "temperature", "0.7", "temperature", "1.5"]
    assert max(map(len, shown.splitlines())) <= 80
    found = json_lines(command("sample", "--seed", 0, "--temps", "0.2,0.7,1.5", "--length", 100, "--json"))
    assert [one["temperature"] for one in found] == [0.2, 0.7, 1.5]
    model = charrnn.load(lab)
    assert [one["text"] for one in found] == [
        model.sample(seed=0, length=100, temperature=t).text for t in (0.2, 0.7, 1.5)
    ]
    columns = "".join(shown.split())
    assert all(one["text"][:10].split()[0] in columns for one in found)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_the_log_probabilities_are_the_model_s_to_the_precision_of_its_weights(
    command: Command, lab: Path, precision: str
) -> None:
    (found,) = json_lines(command("sample", "--seed", 0, "--length", 300, "--precision", precision, "--json"))
    trace = charrnn.load(lab).trace("\n" + found["text"])
    error = abs(sum(found["logprobs"]) - float(trace.logprobs[1:].sum())) / 300
    assert error < (0.02 if precision == "int8" else 1e-5), "nats per character"


@pytest.mark.parametrize(
    "options",
    [(), ("--beam-mode", "diverse", "--groups", 2, "--diversity", 1), ("--beam-mode", "stochastic", "--seed", 3)],
    ids=["plain", "diverse", "stochastic"],
)
def test_every_kind_of_beam_is_that_of_the_library(
    command: Command, alphabet_run: Path, options: tuple[Any, ...]
) -> None:
    (found,) = json_lines(command("sample", alphabet_run, "--beam", 4, "--length", 40, *options, "--json"))
    names = {"--beam-mode": "mode", "--groups": "groups", "--diversity": "diversity", "--seed": "seed"}
    wanted = {names[flag]: value for flag, value in zip(options[::2], options[1::2], strict=True)}
    expected = charrnn.load(alphabet_run).beam(width=4, length=40, **wanted)
    assert [beam["text"] for beam in found["beams"]] == [text.text for text in expected]
    assert [beam["score"] for beam in found["beams"]] == [text.score for text in expected]
    printed = text_of(command("sample", alphabet_run, "--beam", 4, "--length", 40, *options, "--count", 1))
    first = max(expected, key=lambda text: text.score or 0.0)  # the best, or the first that a stochastic search drew
    assert printed.rstrip("\n") == first.text.rstrip("\n")


DIVERSE = ("--beam-mode", "diverse", "--diversity", 9)
"""So diverse that no two groups find the same text."""


@pytest.mark.parametrize(
    ("options", "num_shown"),
    [
        ((), 1),
        (("--count", 3), 3),
        (DIVERSE, 4),
        ((*DIVERSE, "--count", 2), 2),
        ((*DIVERSE, "--count", 1), 1),
        (("--beam-mode", "stochastic"), 4),
        (("--beam-mode", "stochastic", "--count", 3), 3),
    ],
)
def test_the_texts_of_a_search_are_numbered_best_first(
    command: Command, alphabet_run: Path, options: tuple[Any, ...], num_shown: int
) -> None:
    options = ("sample", alphabet_run, "--beam", 4, "--length", 12, "--prime", "xy", "--seed", 5, *options)
    (found,) = json_lines(command(*options, "--json"))
    beams = found["beams"]
    assert len(beams) == (num_shown if options[-2] == "--count" or "--beam-mode" in options else 4)
    scores = [beam["logprob" if "stochastic" in options else "score"] for beam in beams]
    assert scores == sorted(scores, reverse=True)
    assert (found["text"], found["logprob"]) == (beams[0]["text"], beams[0]["logprob"])
    assert found["seed"] == (5 if "stochastic" in options else None)
    parts = [
        (f"--- {number} of {num_shown}: log-probability {beam['logprob']:.2f} nats ---\n" if num_shown > 1 else "")
        + with_newline(f"xy{beam['text']}")
        for number, beam in enumerate(beams[:num_shown], start=1)
    ]
    assert text_of(command(*options)) == "\n".join(parts)


def with_newline(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


def seed_of(ran: Ran) -> int:
    """The fresh seed that a command named, which is all that it said."""
    match = re.fullmatch(r"seed (\d+)\n", ran.err)
    assert match is not None and ran.code == 0, ran.err
    return int(match[1])


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--json",),
        ("--count", 3),
        ("--count", 3, "--json"),
        ("--temps", "1,3"),
        ("--show-cell", "0:1"),
        ("--precision", "fp32"),
        ("--beam", 4, "--beam-mode", "stochastic"),
        ("--beam", 4, "--beam-mode", "stochastic", "--json"),
    ],
    ids=lambda options: " ".join(map(str, options)),
)
def test_without_a_seed_each_call_draws_one_and_names_it(
    command: Command, alphabet_run: Path, options: tuple[object, ...]
) -> None:
    hot = () if "--temps" in options or "--beam" in options else ("--temp", 4)
    options = ("sample", alphabet_run, "--length", 60, *hot, *options)
    drawn = [command(*options) for _ in range(3)]
    seeds = [seed_of(ran) for ran in drawn]
    # Three of 2^31 are the same twice once in 700 million tries.
    assert len(set(seeds)) == len({ran.out for ran in drawn}) == 3
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert text_of(command(*options, "--seed", seeds[0])) == drawn[0].out
    if "--json" in options:
        assert [json.loads(line)["seed"] for line in drawn[1].out.splitlines()] == [seeds[1]] * (
            3 if "--count" in options else 1
        )
    quiet = command(*options, "--quiet")
    assert (quiet.code, quiet.err) == (0, "")
    assert quiet.out not in {ran.out for ran in drawn}


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


def test_a_beam_stops_and_its_length_counts_by_the_penalty(command: Command, lab: Path) -> None:
    options = ("sample", "--seed", 0, "--beam", 6, "--length", 60, "--stop", " ", "--stop", "\\n", "--json", "-q")
    (short,), (long,) = (json_lines(command(*options, "--length-penalty", alpha)) for alpha in (0, 3))
    assert not {" ", "\n"} & set("".join(beam["text"] for beam in (*short["beams"], *long["beams"])))
    assert {beam["stop"] for beam in short["beams"]} <= {" ", "\n", ""} and short["beams"][0]["stop"]
    assert len(long["text"]) > len(short["text"])


def test_a_text_that_goes_round_in_circles_is_remarked_on(command: Command, loop_run: Path) -> None:
    ran = command("sample", loop_run, "--beam", 3, "--length", 300)
    assert find_loop(ran.out[:-1]) is not None, "the premise: this model's likeliest text is a loop"
    assert "the text ends in a loop: its last" in ran.err and "--no-repeat 20" in ran.err
    assert command("sample", loop_run, "--beam", 3, "--length", 300, "--quiet").err == ""
    way_out = command("sample", loop_run, "--beam", 3, "--length", 300, "--no-repeat", 20)
    assert (way_out.code, way_out.err) == (0, "")
    assert find_loop(way_out.out[:-1]) is None
    assert "a higher --temp" in command("sample", loop_run, "--seed", 0, "--temp", 0, "--length", 400).err


def test_novelty_marks_what_stands_in_the_training_text(command: Command, tmp_path: Path) -> None:
    """The model writes the alphabet over and over; its text holds the first half of it."""
    text = "abcdefghijklm\n" * 300
    path = tmp_path / "half.txt"
    path.write_bytes(text.encode())
    run = build_chain(tmp_path / "half-001", "\n" + ascii_lowercase, corpus=path)
    options = ("sample", run, "--seed", 0, "--length", 60, "--temp", 0.3, "--novelty", "--min-copy", 12)
    (found,) = json_lines(command(*options, "--json"))
    longest = found["novelty"]["longest"]
    copied = found["text"][longest["start"] : longest["start"] + longest["length"]]
    assert longest["length"] >= 12 and copied in text[: longest["source"] + longest["length"]]
    assert 0 < found["novelty"]["share_copied"] < 1
    shown = text_of(command(*options))
    assert f"{longest['length']} characters" in shown and "━" in shown
    assert "held-out: the same share of validation text" in shown
    assert max(map(len, shown.splitlines())) <= 80
    short = command(*options[:5], 11, *options[6:])
    assert "the text has 11 characters, and copies of 12 or more count: give a smaller --min-copy" in short.err
    assert "--min-copy" not in command(*options).err
    beam = command("sample", run, "--beam", 4, "--length", 100, "--novelty", "--quiet")
    assert beam.code == 0 and "copied" in beam.out


def test_temperatures_that_have_no_room_beside_each_other_stand_below_each_other(command: Command, lab: Path) -> None:
    shown = text_of(command("sample", "--seed", 0, "--temps", "0.2,0.4,0.6,0.8,1,1.2", "--length", 50))
    headings = [line for line in shown.splitlines() if line.startswith("temperature ")]
    assert headings == [f"temperature {t}" for t in ("0.2", "0.4", "0.6", "0.8", "1", "1.2")]
    assert charrnn.load(lab).sample(seed=0, length=50, temperature=0.6).text in shown


def test_novelty_shows_the_prime_too(command: Command, lab: Path) -> None:
    assert text_of(command("sample", "--seed", 0, "--novelty", "--prime", "zib ab", "--length", 40)).startswith(
        "zib ab\n"
    )


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
