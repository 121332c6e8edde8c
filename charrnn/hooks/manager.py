"""Find the packages that extend charrnn, and ask them what they add.

What another package does wrong never breaks a command that does not need it: it is left out, and a
warning says why.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import chain
from traceback import walk_tb
from types import FrameType
from typing import Any, TypeVar

import pluggy

from charrnn.errors import UsageError
from charrnn.hooks import specifications
from charrnn.hooks.foreign import run_foreign
from charrnn.system.progress import warn

GROUP = "charrnn"
"""The group of the entry points by which other packages name a module with hooks."""
Kind = TypeVar("Kind")
"""The class of what a hook returns."""
Names = Callable[[], Mapping[str, str]]
"""A specification of things with a name, which the hook returns as places."""
Records = Callable[[], Sequence[Any]]
"""A specification of records."""


@dataclass(frozen=True, slots=True)
class Extension:
    """A module with hooks, or what one of its hooks offers under a name."""

    kind: str
    """What it is, for messages, such as "detector"."""
    name: str
    place: str
    """Where it is, as "module" or "module:name"."""
    package: str
    """The name and the version of the package."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} of the package {self.package}"

    @property
    def top(self) -> str:
        """The outermost package in which it is."""
        return _top_of(self.place)

    def load(self) -> Any:
        """Import and return it. Raises UsageError, which names the package, if that fails."""
        return self.run(load_place, self.place)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of the package by `run_foreign`."""
        # The outermost package: an error in a module that it imports from itself is its fault, too.
        return run_foreign(
            f"The {self}", lambda frame: _top_of_frame(frame) == self.top, function, *arguments
        )


@dataclass(frozen=True, slots=True)
class _Packages:
    """The packages with hooks, as they were found when the first hook was asked."""

    manager: pluggy.PluginManager
    extensions: dict[str, Extension]
    """By the names that the manager gives them."""


@cache
def _packages() -> _Packages:
    """Import the modules that other packages name, and register their hooks."""
    found = _Packages(pluggy.PluginManager(GROUP), extensions={})
    found.manager.add_hookspecs(specifications)
    for extension in dict.fromkeys(_entry_points(found)):
        try:
            extension.run(_register, found.manager, extension)
        except UsageError as error:
            leave_out(f"{error}. It is left out: reinstall or remove the package")
            # pluggy may have registered some of its hooks before the error.
            found.manager.set_blocked(str(extension))
        else:
            found.extensions[str(extension)] = extension
    return found


def _entry_points(found: _Packages) -> Sequence[Extension]:
    """Return what the entry points of GROUP name; nothing if the metadata of a package are
    damaged."""
    from importlib import metadata

    # All or none: one by one, as importlib does not read them, costs more than reinstalling one.
    try:
        entry_points = metadata.entry_points(group=GROUP)
    except (TypeError, ValueError, OSError) as error:
        problem = f"The entry points of an installed package cannot be read: {error}"
        leave_out(f"{problem}. Reinstall or remove it; all packages are left out")
        return []
    extensions = []
    for entry_point in entry_points:
        # An entry point that is made by hand, as in a test, belongs to no distribution.
        package = "unknown"
        if (distribution := entry_point.dist) is not None:
            package = f"{distribution.name} {distribution.version}"
        extensions.append(Extension("extension", entry_point.name, entry_point.value, package))
    return extensions


def _register(manager: pluggy.PluginManager, extension: Extension) -> None:
    """Import a module with hooks, and register them. Raises TypeError for a hook that does not
    exist, and all that the code of another package raises."""
    module = load_place(extension.place)
    manager.register(module, str(extension))
    # pluggy takes a hook without a specification, which nothing would ever call.
    for caller in manager.get_hookcallers(module) or ():
        if not caller.has_spec():
            raise TypeError(f"it has a hook {caller.name!r}; there is none")


def _top_of(place: str) -> str:
    return re.split("[:.]", place)[0]


def _top_of_frame(frame: FrameType) -> str:
    return _top_of(str(frame.f_globals.get("__name__")))


def load_place(place: str) -> Any:
    """Import a module and return what it has under a name; "module:name", or "module" alone."""
    # A place is a text, so that offering a thing imports nothing.
    module, _, name = place.partition(":")
    imported = import_module(module)
    if not name:
        return imported
    return getattr(imported, name)


def offered(specification: Records, kind: type[Kind]) -> list[Kind]:
    """Return the records of a class that all packages offer by a hook."""
    return [record for _, record in offers(specification, kind)]


def offers(specification: Records, kind: type[Kind]) -> list[tuple[str, Kind]]:
    """Return what `offered` returns, each record after the name and the version of its
    package."""
    return [
        (extension.package, record)
        for extension, record in _results(specification, Sequence)
        if isinstance(record, kind)
    ]


def offered_by_name(specification: Names, kind: str) -> list[Extension]:
    """Return what all packages offer by a hook; `kind` is what messages call it."""
    return [
        Extension(kind=kind, name=name, place=place, package=extension.package)
        for extension, (name, place) in _results(specification, Mapping)
    ]


def offered_names(specification: Names) -> list[str]:
    """Return the names that all packages offer by a hook, sorted."""
    # A name that two packages offer is listed once, and refused when it is used.
    return sorted({extension.name for extension in offered_by_name(specification, "extension")})


def find_extension(
    specification: Names, *, kind: str, name: str, built_in: Collection[str] = ()
) -> Extension | None:
    """Return what is offered by a name, None if no package offers it.

    Raises UsageError if the name is ambiguous: offered by two packages, or by one and among the
    names in `built_in`.
    """
    # No package silently hides a built-in thing, or a thing of another package.
    offers = [offer for offer in offered_by_name(specification, kind) if offer.name == name]
    owners = [f"the package {offer.package}" for offer in offers]
    if name in built_in:
        owners.insert(0, "charrnn")
    if len(owners) > 1:
        raise UsageError(
            f"The {kind} {name!r} is offered twice: by {' and by '.join(owners)}.\n"
            "Uninstall one of the packages, or rename it."
        )
    return next(iter(offers), None)


def _results(specification: Callable[[], Any], kind: type[Any]) -> list[tuple[Extension, Any]]:
    """Call a hook of every package, and return each record, or each name with its place; leave out
    packages whose function fails or returns another class."""
    # The hooks are called anew each time, because a package may look at what else is installed.
    found = _packages()
    name = specification.__name__
    results = []
    # Not by calling the hook: that would not tell which package a result or an error is from.
    for hook in getattr(found.manager.hook, name).get_hookimpls():
        extension = found.extensions[hook.plugin_name]
        try:
            items = extension.run(_read_hook, name, hook.function, kind)
        except UsageError as error:
            leave_out(f"{error}. It is left out: reinstall or remove the package")
        else:
            results += [(extension, item) for item in items]
    return results


def _read_hook(name: str, function: Callable[[], Any], kind: type[Any]) -> list[Any]:
    """Call a hook, and copy its result to a list: the methods of the result are code of the
    package, too. Raises TypeError for what is not of the kind that the hook returns."""
    result = function()
    if not isinstance(result, kind):
        raise TypeError(f"`{name}()` returns no {kind.__name__.lower()}")
    wanted: type[Any] = specifications.Record
    items = parts = list(result)
    if kind is Mapping:
        wanted = str
        items = list(result.items())
        parts = list(chain(*items))
    for part in parts:
        if not isinstance(part, wanted):
            raise TypeError(f"`{name}()` returns {part!r:.80}, which is no {wanted.__name__}")
    return items


@cache
def leave_out(reason: str) -> None:
    """Warn that something that another package adds is left out: once, however often a hook is
    asked."""
    # A word in backticks would be replaced by its option, for which all packages are asked.
    warn(reason.replace("`", "'"))


def forget() -> None:
    """Look for the packages again when they are next needed."""
    _packages.cache_clear()
    leave_out.cache_clear()


def other_packages() -> list[str]:
    """Return the names and versions of the packages that extend charrnn."""
    extensions = _packages().extensions.values()
    return sorted(each.package for each in extensions)


def extension_in(error: BaseException) -> str:
    """Return what messages call the package in whose code an error was raised, "" for charrnn."""
    extension = ""
    extensions = _packages().extensions.values()
    others = {each.top: str(each) for each in extensions}
    # The last frame of a package: one that was called back by another one is at fault.
    for frame, _ in walk_tb(error.__traceback__):
        extension = others.get(_top_of_frame(frame), extension)
    return extension
