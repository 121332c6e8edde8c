"""Docstrings that say what the fields of a dataclass mean."""

import inspect
import subprocess
import sys
from dataclasses import dataclass, field

from charrnn.system import docstrings
from charrnn.system.docstrings import described, field_texts, with_entries


@described
@dataclass(frozen=True, slots=True)
class Shape:
    """A shape.

    Example:
        >>> Shape("square")
    """

    name: str
    """What it is called,
    in a word."""
    num_corners: int = field(default=4)
    colour: str = "red"
    """The colour."""
    _secret: int = 0
    """Nobody's business."""


@described
@dataclass(frozen=True, slots=True)
class Solid(Shape):
    """A solid."""

    colour: str = "blue"
    """The colour of the outside."""
    num_faces: int = 6
    """The number of faces."""


def test_the_docstring_of_a_class_describes_its_fields_before_the_example():
    assert inspect.getdoc(Shape) == (
        "A shape.\n\nAttributes:\n    name: What it is called, in a word.\n    colour: The colour.\n"
        '\nExample:\n    >>> Shape("square")'
    )
    assert Shape("square").__doc__ == Shape.__doc__


def test_fields_of_a_base_come_first_and_may_be_described_anew():
    assert [(each.name, text) for each, text in field_texts(Solid)][1:] == [
        ("colour", "The colour of the outside."),
        ("num_faces", "The number of faces."),
    ]


def test_hidden_fields_are_left_out_and_a_remark_stands_behind_the_text():
    @dataclass
    class Local:
        """A record."""

        first: int
        """One."""
        second: int
        """Two."""

    described(Local, title="Args", hidden=["first"], remark=lambda each: f"Not {each.name}.")
    assert Local.__doc__ == "A record.\n\nArgs:\n    second: Two. Not second."


def test_entries_that_a_section_has_stay_as_they_are():
    docstring = """Draw.

        Args:
            length: How long
                it is.

        Returns:
            A text.
        """
    assert with_entries(docstring, "Args", {"length": "another text", "seed": "A number."}) == (
        "Draw.\n\nArgs:\n    length: How long\n        it is.\n    seed: A number.\n"
        "\nReturns:\n    A text."
    )


def test_without_source_code_the_docstring_stays_as_it_is(monkeypatch):
    def fail(owner):
        raise OSError

    monkeypatch.setattr(docstrings.inspect, "getsource", fail)
    assert Solid.__doc__ == "A solid."


def test_no_source_code_is_read_before_somebody_asks():
    program = (
        "import ast, charrnn\n"
        "ast.parse = lambda *values, **options: 1 / 0\n"
        "charrnn.Model, charrnn.Config, charrnn.Provenance\n"
        "try: charrnn.Config.__doc__\n"
        "except ZeroDivisionError: print('asked')"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert printed.stdout.strip() == b"asked"
