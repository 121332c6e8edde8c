"""What a terminal shows on stderr: messages broken between words only, no status line within a
text, and a prompt that begins a line after Ctrl-C.

Tests `cli.progress_bars`, too.
"""

import signal
import sys
from types import SimpleNamespace

import pytest
from hand_built import vocab_of
from streams import Stream

from charrnn.cli import streams
from charrnn.cli.progress_bars import TerminalProgress
from charrnn.commands import sample_output
from charrnn.commands.sample_options import SampleCommandOptions
from charrnn.config.settings import Config
from charrnn.generation.generated_text import GeneratedText
from charrnn.generation.sample_options import SampleOptions
from charrnn.system.progress import tell, using, warn

PATH = "/a/folder-of-texts/with-many-hyphens/and-a-long-name/text-that-is-not-there.txt"


@pytest.fixture
def make_terminal(monkeypatch):
    """Return what makes stderr a terminal of 60 columns; pytest itself sets stderr before a
    test."""

    def make():
        stream = Stream(is_terminal=True)
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("COLUMNS", "60")
        return stream

    return make


def test_an_error_is_broken_between_words_only(make_terminal):
    terminal = make_terminal()
    streams.print_error(f"no corpus {PATH} here\ngive --init-from RUN or " + "another-one " * 9)
    lines = terminal.text().split("\n")
    assert f"       {PATH}" in lines
    assert {line[:7] for line in lines if line} == {"error: ", "       "}
    assert all(len(line) <= 60 or PATH in line for line in lines)
    assert terminal.text().count("another-one") == 9


def test_a_warning_and_a_note_are_broken_between_words_only(make_terminal):
    terminal = make_terminal()
    TerminalProgress().warn("use " + "--join-lines " * 9)
    assert terminal.text().startswith(
        "warning: use --join-lines --join-lines --join-lines\n" + 9 * " "
    )
    streams.write_aside("x" * 50 + " --join-lines")
    assert terminal.text().endswith("x\n--join-lines\n")


def test_a_program_reads_each_message_on_one_line(monkeypatch):
    stream = Stream()
    monkeypatch.setattr(sys, "stderr", stream)
    TerminalProgress().warn("word " * 90)
    assert stream.text().count("\n") == 1


@pytest.mark.parametrize("number, shown", [(signal.SIGINT, "\n"), (signal.SIGTERM, "")])
def test_the_prompt_begins_a_line_after_ctrl_c(make_terminal, number, shown):
    terminal = make_terminal()
    streams.end_interrupted_line(number)
    assert terminal.text() == shown


class Drawn:
    """A text that says something while it is drawn."""

    def whole(self):
        return GeneratedText(text="", logprobs=(), seed=7)

    def chunks(self):
        yield "a"
        tell("compiling within the text ...")
        warn("the loop cannot be compiled")
        yield "b"


def test_no_status_line_stands_within_a_text(make_terminal, monkeypatch):
    terminal = make_terminal()
    text = Stream(is_terminal=True)
    monkeypatch.setattr(sys, "stdout", text)
    monkeypatch.setattr(sample_output, "TextToDraw", Drawn)
    model = SimpleNamespace(
        config=Config(),
        vocab=vocab_of("ab"),
        generator=SimpleNamespace(
            prepare=lambda options: tell("reading before the text ..."),
            begin_each=lambda count, options: [Drawn()],
        ),
    )
    request = sample_output.SampleRequest(
        model=model,
        options=SampleCommandOptions(),
        drawing=SampleOptions(length=2, seed=7),
        typed="",
        destination=None,
    )
    with using(TerminalProgress()):
        sample_output.show(request)
        tell("after the text")
    assert text.text() == "ab\n"
    shown = terminal.text().split("\n")
    assert shown == [
        "reading before the text ...",
        "seed 7",
        "warning: the loop cannot be compiled",
        "after the text",
        "",
    ]
