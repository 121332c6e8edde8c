"""Methods whose keywords are the fields of a dataclass of options."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from charrnn.errors import UsageError, did_you_mean

Fields = ParamSpec("Fields")
"""The fields of a dataclass of options, as its constructor takes them."""
Options = TypeVar("Options")
"""The dataclass of options."""
Owner = TypeVar("Owner")
"""The class of a method."""
Result = TypeVar("Result")
"""What a method returns."""


def with_options(
    options_class: Callable[Fields, Options],
) -> Callable[[Callable[[Owner, Options], Result]], Callable[Concatenate[Owner, Fields], Result]]:
    """Return a decorator for a method of one argument, an object of `options_class`. The decorated
    method takes the fields of that class in its place, by name.

    A user types `model.sample(length=50)`, and the options are declared, described and checked in
    one class: use it for a method with many options, and a plain signature for one with few. Type
    checkers, editors and `help` know these options, which are declared once, in the class. The
    method raises UsageError for another name.
    """
    declared = inspect.signature(options_class).parameters

    def decorate(
        method: Callable[[Owner, Options], Result],
    ) -> Callable[Concatenate[Owner, Fields], Result]:
        # What `help` shows in place of *values and **options.
        signature = inspect.signature(method)
        owner, _ = signature.parameters.values()
        shown = signature.replace(parameters=[owner, *declared.values()])

        @wraps(method)
        def call(owner: Owner, /, *values: Fields.args, **options: Fields.kwargs) -> Result:
            # A misspelled option first: the message of Python would suggest nothing.
            for name in options:
                if name not in declared:
                    near = did_you_mean(name, declared)
                    near = near or f" There are {', '.join(declared)}."
                    raise UsageError(f"There is no option {name!r} of generated text.{near}")

            return method(owner, options_class(*values, **options))

        call.__signature__ = shown  # type: ignore[attr-defined]
        return call

    return decorate
