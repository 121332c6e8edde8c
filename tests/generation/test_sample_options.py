"""The options of sampling and searching: each default in one place, each value checked when it is
given."""

import pytest

import charrnn
from charrnn.config.options import options_of
from charrnn.errors import UsageError
from charrnn.generation.sample_options import SampleOptions


@pytest.mark.parametrize(
    "options, message",
    [
        ({"match": b"ab*"}, "`match` is b'ab\\*'; it must be a string"),
        ({"length": 10.5}, "`length` is 10.5; it must be at least 0, not of type float"),
        ({"seed": 1.5}, "`seed` is 1.5"),
        ({"stops": ("a", "")}, "`stops` is a/; it must be strings of at least 1 character"),
    ],
)
def test_a_sample_s_options_are_checked_when_they_are_made(options, message):
    with pytest.raises(UsageError, match=f"^{message}"):
        SampleOptions(**options)


@pytest.mark.parametrize("verb", ["sample", "beam"])
def test_a_verb_takes_the_fields_of_its_options_alone(verb, alphabet_run):
    method = getattr(charrnn.load(alphabet_run), verb)
    with pytest.raises(UsageError, match="no option 'temprature' of generated text"):
        method(temprature=1)


def test_the_command_line_finds_flags_and_help_at_the_fields():
    options = {option.name: option for option in options_of(SampleOptions)}
    assert options["top_p"].flag == "--top-p"
    assert options["seed"].allowed.words == "at least 0"
    assert options["seed"].panel is None, "an option that everybody uses"
    assert "cell" not in options


def test_one_stop_string_may_be_given_by_itself():
    assert SampleOptions(stops="end").stops == ("end",)
