"""Methods that take the fields of a class of options by name."""

import inspect
from dataclasses import KW_ONLY, dataclass, fields

import pytest

import charrnn
from charrnn.generation.keywords import with_options
from charrnn.generation.sample_options import SampleOptions, SearchOptions, SeveralOptions


@dataclass(frozen=True)
class GreetOptions:
    name: str
    _: KW_ONLY
    times: int = 1
    """How often."""


class Greeter:
    def __init__(self, word):
        self.word = word

    @with_options(GreetOptions)
    def greet(self, options: GreetOptions) -> str:
        """Greet somebody."""
        return f"{self.word} {options.name} " * options.times


def test_a_method_gets_its_keywords_as_a_record():
    greeter = Greeter("hello")
    assert greeter.greet("you") == greeter.greet(name="you") == "hello you "
    assert greeter.greet("you", times=2) == "hello you hello you "


@pytest.mark.parametrize(
    ("method", "options_class"),
    [
        ("sample", SampleOptions),
        ("stream", SampleOptions),
        ("write", SampleOptions),
        ("samples", SeveralOptions),
        ("beam", SearchOptions),
    ],
)
def test_a_model_takes_every_option_by_name(method, options_class):
    _, *parameters = inspect.signature(getattr(charrnn.Model, method)).parameters
    assert sorted(parameters) == sorted(field.name for field in fields(options_class))
