"""The options of sampling and searching: each default in one place, each value checked when it is
given."""

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.config.options import options_of
from charrnn.errors import UsageError
from charrnn.generation.sample_options import SAMPLE_TEMPERATURE, SampleOptions, SearchOptions


def test_a_sample_s_options_are_checked_when_they_are_made() -> None:
    for options, message in (
        ({"max_line": -1}, "`max_line` is -1; it must be 1 or more"),
        ({"seed": -1}, "`seed` is -1; it must be 0 or more"),
        ({"temp_at": "words=-1"}, "`temp_at` is words=-1; it must be words, or words=T with"),
        (
            {"precision": "int9"},
            "`precision` is int9; it must be one of auto, int8, fp32. Did you mean int8",
        ),
        (
            {"unknown": "skipp"},
            "`unknown` is skipp; it must be one of error, skip, nearest. Did you mean skip",
        ),
        ({"match": b"ab*"}, "`match` is b'ab\\*'; it must be a string"),
        ({"stops": ("a", "")}, "`stops` has an empty string; it must be at least 1 character"),
    ):
        with pytest.raises(UsageError, match=f"^{message}"):
            SampleOptions(**options)


@pytest.mark.parametrize(("verb", "options"), [("sample", SampleOptions), ("beam", SearchOptions)])
def test_a_verb_shows_and_takes_the_fields_of_its_options(
    verb: str, options: type[Any], alphabet_run: Path
) -> None:
    method = getattr(charrnn.Model, verb)
    assert [*inspect.signature(method).parameters] == [
        "self",
        *(field.name for field in fields(options)),
    ]
    with pytest.raises(TypeError, match="temprature"):
        getattr(charrnn.load(alphabet_run), verb)(temprature=1)


def test_the_command_line_finds_flags_and_help_at_the_fields() -> None:
    options = {option.name: option for option in options_of(SampleOptions)}
    assert (options["temperature"].flag, options["temperature"].aliases) == (
        "--temp",
        ("--temperature", "--temps"),
    )
    assert options["seed"].least == 0 and "on_draw" not in options
    assert options["seed"].panel is None, "an option that everybody uses"
    assert (SAMPLE_TEMPERATURE, SampleOptions().temperature) == (0.8, 1.0), (
        "on the command line, and in Python"
    )
    assert (
        SampleOptions(words="end").words
        == SearchOptions(stops="end", length_penalty=1.0).stops
        == ("end",)
    )
