"""Methods whose keywords are the fields of a dataclass of options."""

import inspect
from collections.abc import Callable
from functools import update_wrapper
from types import MethodType
from typing import Concatenate, Generic, ParamSpec, TypeVar

from charrnn.errors import UsageError, did_you_mean

Fields = ParamSpec("Fields")
"""The fields of a dataclass of options, as its constructor takes them."""
Options = TypeVar("Options")
"""The dataclass of options."""
Owner = TypeVar("Owner")
"""The class of a method."""
Result = TypeVar("Result")
"""What a method returns."""


class MethodWithOptions(Generic[Owner, Fields, Options, Result]):
    """A method that takes the fields of `options_class` by name, and passes `method` an object of
    that class.

    Its signature has these fields. Raises UsageError for another name, and
    TypeError for an argument without a name that is no field.
    """

    def __init__(
        self, method: Callable[[Owner, Options], Result], options_class: Callable[Fields, Options]
    ) -> None:
        self.method = method
        self.options_class = options_class
        self.declared = inspect.signature(options_class).parameters

        # What `help` shows in place of *values and **options.
        update_wrapper(self, method)
        signature = inspect.signature(method)
        owner, _ = signature.parameters.values()
        self.__signature__ = signature.replace(parameters=[owner, *self.declared.values()])

    def __get__(self, owner: Owner | None, kind: type | None = None) -> object:
        # Of the class, as in `help(Model.sample)`, or of an object.
        if owner is None:
            return self
        return MethodType(self, owner)

    def __call__(self, owner: Owner, /, *values: Fields.args, **options: Fields.kwargs) -> Result:
        # A misspelled option first: the message of Python would suggest nothing.
        for name in options:
            if name not in self.declared:
                near = did_you_mean(name, self.declared)
                near = near or f" There are {', '.join(self.declared)}."
                raise UsageError(f"There is no option {name!r} of generated text.{near}")

        # Said here, because the class of options is no word of who calls the method.
        name = self.method.__name__
        try:
            self.__signature__.bind(owner, *values, **options)
        except TypeError as error:
            raise TypeError(
                f"{name}(): {error}. Options are given by name, as length=500 is."
            ) from None
        return self.method(owner, self.options_class(*values, **options))


def with_options(
    options_class: Callable[Fields, Options],
) -> Callable[[Callable[[Owner, Options], Result]], Callable[Concatenate[Owner, Fields], Result]]:
    """Return a decorator for a method of one argument, an object of `options_class`. The decorated
    method takes the fields of that class in its place, by name.

    Type checkers, editors and `help` know these options, which are declared once, in the class.
    """

    def decorate(
        method: Callable[[Owner, Options], Result],
    ) -> Callable[Concatenate[Owner, Fields], Result]:
        return MethodWithOptions(method, options_class)

    return decorate
