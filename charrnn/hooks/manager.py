"""Find the packages that extend charrnn, and ask them what they add.

What another package does wrong never breaks a command that does not need it: it is left out, and a
warning says why.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import chain
from traceback import walk_tb
from types import FrameType, ModuleType
from typing import Any

from charrnn.errors import UsageError
from charrnn.hooks import HOOKS
from charrnn.hooks.foreign import run_foreign
from charrnn.system.progress import warn

GROUP = "charrnn"
"""The group of the entry points by which other packages name a module with hooks."""


@dataclass(frozen=True)
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
        """Call a function of the package by `run_foreign`.

        An error in it names the package, not charrnn.
        """
        # The outermost package: an error in a module that it imports from itself is its fault, too.
        return run_foreign(
            f"The {self}", lambda frame: _top_of_frame(frame) == self.top, function, *arguments
        )


@cache
def _packages() -> Sequence[tuple[Extension, ModuleType]]:
    """Import the modules that other packages name."""
    found = []
    for extension in dict.fromkeys(_entry_points()):
        try:
            found.append((extension, extension.load()))
        except UsageError as error:
            leave_out(f"{error}. It is left out: reinstall or remove the package")
    return found


def _entry_points() -> Sequence[Extension]:
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
        extensions.append(
            Extension(
                kind="extension", name=entry_point.name, place=entry_point.value, package=package
            )
        )
    return extensions


def _top_of(place: str) -> str:
    return re.split("[:.]", place)[0]


def _top_of_frame(frame: FrameType) -> str:
    return _top_of(str(frame.f_globals.get("__name__")))


def load_place(place: str) -> Any:
    """Import a module and return what it has under a name; "module:name", or "module" alone.

    A command is imported by it only when it runs.
    """
    # A place is a text, so that offering a thing imports nothing.
    module, _, name = place.partition(":")
    imported = import_module(module)
    if not name:
        return imported
    return getattr(imported, name)


def offered(hook: str) -> list[tuple[Extension, Any]]:
    """Return what all packages offer by a hook, each record, or each name with its place, after the
    module that offers it; leave out packages whose function fails or returns another class.

    Use it for records, all of which are needed, such as for a list of commands; `find_extension`
    imports the one that has a name.
    """
    # The hooks are called anew each time, because a package may look at what else is installed.
    found = []
    for extension, module in _packages():
        try:
            items = extension.run(_read_hook, hook, module)
        except UsageError as error:
            leave_out(f"{error}. It is left out: reinstall or remove the package")
        else:
            found += [(extension, item) for item in items]
    return found


def _read_hook(hook: str, module: ModuleType) -> list[Any]:
    """Call a hook of a module, and copy its result to a list: the methods of the result are code of
    the package, too. Raises TypeError for what is not of the kind that the hook returns."""
    function: Any = getattr(module, hook, None)
    if not hasattr(function, "is_hook"):
        return []
    result = function()
    kind = HOOKS[hook]
    if kind is str:
        items = list(result.items())
        parts = list(chain(*items))
    else:
        items = parts = list(result)
    for part in parts:
        if not isinstance(part, kind):
            raise TypeError(f"{hook}() returns {part!r:.80}, which is no {kind.__name__}")
    return items


def offered_names(hook: str) -> list[str]:
    """Return the names that all packages offer by a hook, sorted.

    Names can be listed without importing what they name.
    """
    # A name that two packages offer is listed once, and refused when it is used.
    return sorted({name for _, (name, _) in offered(hook)})


def find_extension(
    hook: str, *, kind: str, name: str, built_in: Collection[str] = ()
) -> Extension | None:
    """Return what is offered by a name, None if no package offers it; `kind` is what messages call
    it.

    It is for a name that a user has given. Raises UsageError if the name is ambiguous: offered by
    two packages, or by one and among the names in `built_in`.
    """
    # No package silently hides a built-in thing, or a thing of another package.
    offers = []
    for extension, (offered_name, place) in offered(hook):
        if offered_name == name:
            offers.append(Extension(kind=kind, name=name, place=place, package=extension.package))
    owners = [f"the package {offer.package}" for offer in offers]
    if name in built_in:
        owners.insert(0, "charrnn")
    if len(owners) > 1:
        raise UsageError(
            f"The {kind} {name!r} is offered twice: by {' and by '.join(owners)}.\n"
            "Uninstall one of the packages, or rename it."
        )
    return next(iter(offers), None)


@cache
def leave_out(reason: str) -> None:
    """Warn that something that another package adds is left out: once, however often a hook is
    asked.

    Whoever reads all of a hook goes on without the broken package; a name that was asked for is an
    error instead.
    """
    # A word in backticks would be replaced by its option, for which all packages are asked.
    warn(reason.replace("`", "'"))


def forget() -> None:
    """Look for the packages again when they are next needed."""
    _packages.cache_clear()
    leave_out.cache_clear()


def other_packages() -> list[str]:
    """Return the names and versions of the packages that extend charrnn.

    What was measured with a package is not used without it: its name and version are in the key.
    """
    return sorted(extension.package for extension, _ in _packages())


def extension_in(error: BaseException) -> str:
    """Return what messages call the package in whose code an error was raised, "" for charrnn.

    A message about an unexpected error must not send its reader to the wrong authors.
    """
    others = {extension.top: str(extension) for extension, _ in _packages()}
    # The last frame of a package: one that was called back by another one is at fault.
    found = ""
    for frame, _ in walk_tb(error.__traceback__):
        found = others.get(_top_of_frame(frame), found)
    return found
