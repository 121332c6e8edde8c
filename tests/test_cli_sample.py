"""`charrnn sample` as a whole: the text and nothing else, the same for the same seed wherever it goes."""

from __future__ import annotations

import io
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Ran, TrainedRun, clean_environment
from saved_runs import forge
from synthetic import WORDS, SyntheticCorpus

import charrnn
from charrnn.runs.checkpoint import checkpoint_step
from charrnn.runs.writer import RunWriter

Command = Callable[..., Ran]
Process = Callable[..., "subprocess.CompletedProcess[bytes]"]


def as_json(ran: Ran) -> dict[str, Any]:
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.count("\n") == 1, "one object on one line"
    value: dict[str, Any] = json.loads(ran.out)
    return value


def with_newline(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


def test_stdout_is_the_text_and_nothing_else(command: Command, lab: Path) -> None:
    ran = command("sample", "--seed", 0, "--length", 300)
    model = charrnn.load(lab)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == with_newline(model.sample(temperature=0.8, seed=0, length=300).text)


def test_a_trained_model_writes_words_of_its_text(command: Command, lab: Path, corpus: SyntheticCorpus) -> None:
    text = command("sample", "--seed", 0, "--length", 2000, "--temp", 0.5).out
    assert set(text) <= set(corpus.text)
    words = "".join(c if c.isalpha() else " " for c in text).split()[1:-1]
    # 0.79 to 0.96 under ten perturbations. An untrained model writes hardly any.
    assert sum(word in WORDS for word in words) > 0.5 * len(words)


def test_the_same_seed_gives_the_same_bytes_wherever_they_go(command: Command, process: Process, lab: Path) -> None:
    by_seed = {seed: command("sample", "--seed", 0, "--seed", seed, "--length", 200).out for seed in (0, 1, 2)}
    assert len(set(by_seed.values())) == 3
    for seed, text in by_seed.items():
        assert command("sample", "--seed", 0, "--seed", seed, "--length", 200).out == text
        assert as_json(command("sample", "--seed", 0, "--seed", seed, "--length", 200, "--json"))["text"] in text
    piped = process("-m", "charrnn", "sample", "--seed", 1, "--length", 200)
    assert (piped.returncode, piped.stderr) == (0, b"")
    assert piped.stdout == by_seed[1].encode()


def test_a_longer_text_begins_as_the_shorter_one(command: Command, lab: Path) -> None:
    shorter, longer = (as_json(command("sample", "--seed", 0, "--length", n, "--json"))["text"] for n in (50, 80))
    assert longer.startswith(shorter)


@pytest.mark.parametrize("length", [0, 1, 7, 300])
def test_the_length_is_exact(command: Command, lab: Path, length: int) -> None:
    text = as_json(command("sample", "--seed", 0, "--length", length, "--json"))["text"]
    assert len(text) == length
    # Printed, the text ends with exactly one newline; no text is no line.
    assert command("sample", "--seed", 0, "--length", length).out == (with_newline(text) if text else "")


def test_without_a_length_it_writes_a_thousand_characters(command: Command, lab: Path) -> None:
    assert len(as_json(command("sample", "--seed", 0, "--json"))["text"]) == 1000


def test_json_holds_the_text_its_seed_and_its_log_probabilities(command: Command, lab: Path) -> None:
    found = as_json(command("sample", "--seed", 0, "--length", 40, "--seed", 3, "--prime", "molu ", "--json"))
    assert found.keys() >= {"run", "text", "prime", "seed", "logprob", "logprobs"}
    assert (found["run"], found["prime"], found["seed"]) == ("lstm-001", "molu ", 3)
    assert len(found["logprobs"]) == len(found["text"]) == 40
    assert all(logprob <= 0 for logprob in found["logprobs"])
    assert found["logprob"] == pytest.approx(sum(found["logprobs"]))
    # Shaping the draw does not change what the model says about a character.
    options = ("--length", 1, "--temp", 0, "--prime", "molu ", "--precision", "fp32", "--json")
    sharper = as_json(command("sample", "--seed", 0, *options))
    likeliest = charrnn.load(lab).predict("molu ", top=1)[0]
    assert sharper["text"] == likeliest.character
    # Among the characters that can be written, so without the little that the unknown symbol has.
    assert math.exp(sharper["logprob"]) == pytest.approx(likeliest.probability, rel=1e-2)


def greedy(model: charrnn.Model, prime: str, length: int) -> str:
    """The likeliest character, again and again."""
    text = prime
    for _ in range(length):
        text += model.predict(text, top=1)[0].character
    return text[len(prime) :]


def test_temperature_zero_is_greedy_whatever_the_seed(command: Command, alphabet_run: Path) -> None:
    expected = greedy(charrnn.load(alphabet_run), "jora", 25)
    for seed in (0, 1):
        ran = command("sample", alphabet_run, "--temp", 0, "--length", 25, "--prime", "jora", "--seed", seed)
        assert ran.out == with_newline("jora" + expected)


def test_the_prime_comes_first_and_is_gone_on_from(command: Command, lab: Path) -> None:
    model = charrnn.load(lab)
    for prime in ('zib vask, "', "if jora(zib):\n    "):
        ran = command("sample", "--seed", 0, "--prime", prime, "--length", 30)
        assert ran.out == with_newline(prime + model.sample(seed=0, temperature=0.8, prime=prime, length=30).text)
    assert model.sample(seed=0, prime='zib vask, "', length=30).logprobs != model.sample(seed=0, length=30).logprobs


def test_a_prime_from_a_file_or_a_pipe_is_not_repeated(command: Command, lab: Path) -> None:
    prime = "molu tarn.\n\nif "
    Path("prime.txt").write_bytes(prime.encode())
    printed = command("sample", "--seed", 0, "--prime", prime, "--length", 30).out
    from_file = command("sample", "--seed", 0, "--prime-file", "prime.txt", "--length", 30)
    from_pipe = command("sample", "--seed", 0, "--prime-file", "-", "--length", 30, stdin=prime.encode())
    assert prime + from_file.out == printed
    assert (from_file.code, from_pipe.out) == (0, from_file.out)
    assert (
        as_json(command("sample", "--seed", 0, "--prime-file", "prime.txt", "--length", 30, "--json"))["prime"] == prime
    )


def test_an_empty_prime_is_none(command: Command, lab: Path) -> None:
    expected = command("sample", "--seed", 0, "--length", 30).out
    assert command("sample", "--seed", 0, "--prime", "", "--length", 30).out == expected
    assert command("sample", "--seed", 0, "--prime-file", "-", "--length", 30).out == expected


def test_a_beam_ranks_the_texts_it_finds(command: Command, lab: Path) -> None:
    prime = ("--prime", 'zib "')
    for width in (1, 5):
        found = as_json(command("sample", "--seed", 0, "--beam", width, "--length", 24, *prime, "--json"))
        assert found.keys() >= {"run", "prime", "text", "logprob", "beams"}
        assert len(found["beams"]) == len({beam["text"] for beam in found["beams"]}) == width
        assert all(len(beam["text"]) == len(beam["logprobs"]) == 24 for beam in found["beams"])
        ranked = [beam["logprob"] for beam in found["beams"]]
        assert ranked == sorted(ranked, reverse=True)
        assert (found["text"], found["logprob"]) == (found["beams"][0]["text"], ranked[0])
        assert command("sample", "--seed", 0, "--beam", width, "--length", 24, *prime).out == with_newline(
            'zib "' + found["text"]
        )


def test_a_byte_model_writes_valid_text(process: Process, command: Command, byte_run: TrainedRun) -> None:
    text = command("sample", "--seed", 0, byte_run.path, "--length", 400).out
    for locale in ("C.UTF-8", "C"):
        piped = process("-m", "charrnn", "sample", byte_run.path, "--seed", 0, "--length", 400, LC_ALL=locale)
        assert (piped.returncode, piped.stderr) == (0, b"")
        assert piped.stdout.decode("utf-8") == text, "whole characters in UTF-8, in any locale"
    assert any(ord(character) > 127 and character != "\ufffd" for character in text)
    assert len(text.encode("utf-8", "replace")) >= 400


def test_a_byte_model_takes_any_prime(command: Command, byte_run: TrainedRun) -> None:
    ran = command("sample", "--seed", 0, byte_run.path, "--prime", "Ж語 ", "--length", 20)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Ж語 ")


def test_a_run_is_named_by_its_path_or_its_name_or_is_the_newest(command: Command, lab: Path, gru: TrainedRun) -> None:
    newest = command("sample", "--seed", 0, "--length", 30).out
    assert command("sample", "--seed", 0, "lstm-001", "--length", 30).out == newest
    assert command("sample", "--seed", 0, lab, "--length", 30).out == newest
    shutil.copytree(gru.path, lab.parent / "gru-001", copy_function=shutil.copyfile)
    (lab.parent / "gru-001" / "latest").touch()
    assert (
        command("sample", "--seed", 0, "--length", 30).out
        == command("sample", "--seed", 0, "gru-001", "--length", 30).out
        != newest
    )


def test_the_best_step_writes_and_without_one_the_latest(command: Command, lab: Path) -> None:
    oldest, *_, newest = sorted(path.name for path in lab.glob("step-*"))
    state = json.loads((lab / newest / "training.json").read_text())

    def sample(best: str | None, **known: object) -> Ran:
        """Sample when the newest step knows that of the best one, and `best` says the same."""
        forge(RunWriter(lab), newest, "training.json", json.dumps(state | known).encode())
        (lab / "best").unlink(missing_ok=True)
        if best is not None:
            (lab / "best").write_text(best + "\n")
        return command("sample", lab.name, "--seed", 0, "--length", 300)

    from_oldest = sample(oldest, best_step=checkpoint_step(oldest))
    from_newest = sample(newest, best_step=checkpoint_step(newest))
    assert sample(None, best_nats=None) == from_newest != from_oldest
    assert from_oldest.err == ""


def test_a_reader_that_has_enough_ends_it_quietly(lab: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        # So much takes a minute, and is not so much that a loop is compiled first.
        [sys.executable, "-m", "charrnn", "sample", "--seed", "0", "--length", "99999"],
        cwd=tmp_path,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    assert len(process.stdout.read(10)) == 10
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=600), error) == (0, b"")


def test_a_reader_that_reads_nothing_ends_it_quietly_too(lab: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "charrnn", "sample", "--seed", "0", "--length", "5", "--json"],
        cwd=tmp_path,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()  # long before Python has started, so that even one short write fails
    error = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=600), error) == (0, b"")


def test_writing_imports_no_torch(process: Process, lab: Path) -> None:
    script = """
import sys
from charrnn.cli.app import run
for line in ("sample --seed 0 --length 20", "sample --beam 2 --length 5", "predict zib"):
    assert run(line.split()) == 0
print(sorted({"torch", "rich", "numpy"} & {*sys.modules}), file=sys.stderr)
"""
    ran = process("-c", script)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.split() == [b"['numpy',", b"'rich']"], "rich draws the table of `predict`"


def test_a_damaged_step_is_passed_over_with_a_warning_beside_the_text(command: Command, lab: Path) -> None:
    best = lab / (lab / "best").read_text().strip()
    data = bytearray((best / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (best / "model.safetensors").write_bytes(data)
    ran = command("sample", "--seed", 0, "--length", 20)
    assert ran.code == 0
    assert len(ran.out.rstrip("\n")) <= 20
    assert ran.err.startswith("warning: ")
    assert best.name in ran.err and "damaged" in ran.err
    quiet = command("sample", "--seed", 0, "--length", 20, "--quiet")
    assert (quiet.out, quiet.err) == (ran.out, "")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    "chunks", [["a\r\nb\r", "\nc\rd"], ["a\r", "\nb", "\r\n", "c", "\r", "d"], [*"a\r\nb\r\nc\rd"]]
)
def test_a_terminal_shows_the_line_ends_of_windows_as_lines(chunks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from charrnn.cli.sample_view import write

    terminal, pipe = Terminal(), io.StringIO()
    monkeypatch.setattr("sys.stdout", terminal)
    write(chunks)
    assert terminal.getvalue() == "".join(chunks).replace("\r\n", "\n").replace("\r", "␍") + "\n"
    monkeypatch.setattr("sys.stdout", pipe)
    write(chunks)
    assert pipe.getvalue() == "".join(chunks) + "\n"
