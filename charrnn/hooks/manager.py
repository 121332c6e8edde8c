"""Find the packages that extend charrnn, ask them what they add, and run their code.

A *plugin* is a package in `charrnn.plugins`. The core does without it: a plugin that was removed is
missing from the help and the interface, and all else works. What another package does wrong never
breaks a command that does not need it: it is left out, and a warning says why (LEFT_OUT).
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from traceback import walk_tb
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from charrnn.errors import Message, UsageError, shortened
from charrnn.hooks import specifications

if TYPE_CHECKING:
    from importlib import metadata

GROUP = "charrnn"
"""The group of the entry points by which other packages name a module with hooks."""
PLUGINS = (
    "reports",
    "tui",
    "formats",
    "serving",
    "analyses",
    "languages",
)
"""The plugins."""
BUILT_IN = ("ngrams", "plugins.reports", "plugins.analyses", "plugins.languages", "plugins.formats")
"""The packages of charrnn with hooks, in the order in which they are asked."""
LEFT_OUT: list[Message] = []
"""Why packages are left out, one sentence each: of the whole process, because hooks are asked in
many places, and a command says it once, at its end."""
MAX_MESSAGE = 500
"""Number of characters that are shown of the message of another package's error."""
Kind = TypeVar("Kind")
"""The class of what a hook returns."""
Names = Callable[[], Mapping[str, str]]
"""A specification of things with a name, which the hook returns as places."""
Records = Callable[[], Sequence[Any]]
"""A specification of records."""


@dataclass(frozen=True, slots=True)
class Source:
    """A package that extends charrnn."""

    package: str
    """The name and the version of the package that was installed; "charrnn" for a plugin."""
    extension: str
    """What messages call its hooks, such as "extension 'rhymes' of the package rhymes 1.0"."""
    place: str
    """Where its hooks are, as "module" or "module:name"."""

    @property
    def is_own(self) -> bool:
        """Whether it is a plugin: an error in its code is a bug, which is reported as one."""
        return self.package == "charrnn"


@dataclass(frozen=True, slots=True)
class Extension:
    """What a package offers under a name."""

    kind: str
    """What it is, for messages, such as "detector"."""
    name: str
    place: str
    """Where it is, as "module:name"."""
    package: str
    """The name and the version of the package."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} of the package {self.package}"

    def load(self) -> object:
        """Import and return it. Raises UsageError, which names the package, if that fails."""
        return self.run(load_place, self.place)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of the package by `run_foreign`."""
        return run_of_package(f"The {self}", self.place, function, *arguments)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The packages with hooks, as they were found."""

    manager: pluggy.PluginManager
    sources: Mapping[str, Source]
    """By the names that the manager gives them."""


def load_place(place: str) -> Any:
    """Import a module and return what it has under a name; "module:name", or "module" alone."""
    # A place is a text, so that offering a thing imports nothing.
    module, _, name = place.partition(":")
    imported = import_module(module)
    if not name:
        return imported
    return getattr(imported, name)


def has_plugin(plugin: str) -> bool:
    """Return whether a plugin of PLUGINS is there."""
    # Looked for and not imported: a plugin may need packages that are not installed.
    return find_spec(f"charrnn.plugins.{plugin}") is not None


def about_missing_plugins() -> str:
    """Return the sentence that names the plugins that are missing, "" if none is."""
    missing = [f"charrnn.plugins.{plugin}" for plugin in PLUGINS if not has_plugin(plugin)]
    if not missing:
        return ""
    return f" It may be part of a package that is not installed: {', '.join(missing)}."


def offered(specification: Records, kind: type[Kind]) -> list[Kind]:
    """Return the records of a class that all packages offer by a hook, those of the plugins
    first."""
    return [record for _, record in offers(specification, kind)]


def offers(specification: Records, kind: type[Kind]) -> list[tuple[str, Kind]]:
    """Return what `offered` returns, each record after the name and the version of its package:
    "charrnn" for a plugin."""
    return [
        (source.package, record)
        for source, records in _results(specification, Sequence)
        for record in records
        if isinstance(record, kind)
    ]


def offered_by_name(specification: Names, kind: str) -> list[Extension]:
    """Return what all packages offer by a hook; `kind` is what messages call it."""
    return [
        Extension(kind=kind, name=name, place=place, package=source.package)
        for source, places in _results(specification, Mapping)
        for name, place in places.items()
    ]


def offered_names(specification: Names) -> list[str]:
    """Return the names that all packages offer by a hook, sorted."""
    # A name that two packages offer is listed once, and refused when it is used.
    return sorted({extension.name for extension in offered_by_name(specification, "extension")})


def find_extension(
    specification: Names, *, kind: str, name: str, built_in: Collection[str]
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

    if not offers:
        return None
    return offers[0]


def find_named(specification: Names, name: str) -> Any:
    """Import and return what is offered by a name, None if there is none."""
    # If two packages offer the same name, the first offer counts, which is that of a plugin.
    for offer in offered_by_name(specification, "name"):
        if offer.name == name:
            return load_place(offer.place)
    return None


def forget() -> None:
    """Look for the packages again when they are next needed."""
    _loaded.cache_clear()
    LEFT_OUT.clear()


def other_packages() -> list[str]:
    """Return the names and versions of the packages that extend charrnn, without its plugins."""
    return sorted(source.package for source in _loaded().sources.values() if not source.is_own)


def extension_in(error: BaseException) -> str:
    """Return what messages call the package in whose code an error was raised, "" for charrnn."""
    extensions = {}
    for source in _loaded().sources.values():
        if not source.is_own:
            extensions[_package_of(source.place)] = source.extension
    names = [_package_of_frame(frame) for frame, _ in walk_tb(error.__traceback__)]
    return next((extensions[name] for name in reversed(names) if name in extensions), "")


def run_foreign(
    what: str, is_theirs: Callable[[FrameType], bool], function: Callable[..., Any], *arguments: Any
) -> Any:
    """Call a function that is not part of charrnn, and raise its errors as one UsageError.

    The message starts with `what` and names the last line in a frame for which `is_theirs` holds.
    What the function prints goes to stderr: stdout is for results.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return function(*arguments)
    except KeyboardInterrupt:  # that of the user
        raise
    # Foreign code may raise anything. It becomes one error, which says whose fault it is.
    except BaseException as error:
        message = _message_of(error)
        where = ""

        # The place of a syntax error is in no frame: its file was not run.
        if isinstance(error, SyntaxError):
            message = error.msg
            if error.filename:
                where = f" in {error.filename}, line {error.lineno}"

        # The last frame of theirs: the line that failed, or that called a library wrongly.
        for frame, line in walk_tb(error.__traceback__):
            if is_theirs(frame):
                where = f" in {frame.f_code.co_filename}, line {line}"
        raise UsageError(f"{what} failed{where}: {type(error).__name__}: {message}") from error


def _message_of(error: BaseException) -> str:
    """Return the message of a foreign error, of which even that may fail or never end."""
    try:
        return shortened(" ".join(str(error).split()), MAX_MESSAGE)
    except KeyboardInterrupt:
        raise
    except BaseException as another:
        return f"its message cannot be read ({type(another).__name__})"


def run_of_package(what: str, place: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function by `run_foreign`; the package that it belongs to is that of a place."""
    # The outermost package: an error in a module that it imports from itself is its fault, too.
    package = _package_of(place)
    return run_foreign(
        what, lambda frame: _package_of_frame(frame) == package, function, *arguments
    )


def _package_of(place: str) -> str:
    return re.split("[:.]", place)[0]


def _package_of_frame(frame: FrameType) -> str:
    return _package_of(str(frame.f_globals.get("__name__")))


@cache
def _loaded() -> _Loaded:
    """Import the plugins and the modules that other packages name, and register their hooks."""
    manager = pluggy.PluginManager("charrnn")
    manager.add_hookspecs(specifications)

    # An error of a plugin is a bug of charrnn, and is not caught.
    sources = {}
    for built_in in BUILT_IN:
        name = f"charrnn.{built_in}"
        if find_spec(name) is None:  # a plugin that was removed
            continue
        manager.register(import_module(name), name)
        sources[name] = Source("charrnn", extension=f"plugin {name}", place=name)

    # Other packages: an error of one package must not stop the others from loading.
    for entry_point in _entry_points():
        source = _source_of(entry_point)
        if source.extension in sources:
            continue

        try:
            run_of_package(
                f"The {source.extension}", source.place, _register, manager, entry_point, source
            )
        except UsageError as error:
            leave_out(f"{error.marked}. It is left out: reinstall or remove the package")
            # pluggy may have registered some of its hooks before the error.
            if manager.has_plugin(source.extension):
                manager.unregister(name=source.extension)
        else:
            sources[source.extension] = source
    return _Loaded(manager, sources)


def _register(
    manager: pluggy.PluginManager, entry_point: metadata.EntryPoint, source: Source
) -> None:
    """Import what an entry point of another package names, and register its hooks. Raises TypeError
    for a hook that does not exist, and all that the code of the package raises."""
    extension = entry_point.load()
    manager.register(extension, source.extension)
    # pluggy takes a hook without a specification, which nothing would ever call.
    for caller in manager.get_hookcallers(extension) or ():
        if not caller.has_spec():
            raise TypeError(f"it has a hook {caller.name!r}; there is none")


def _source_of(entry_point: metadata.EntryPoint) -> Source:
    # An entry point that is made by hand, as in a test, belongs to no distribution.
    package = "unknown"
    if (distribution := entry_point.dist) is not None:
        package = f"{distribution.name} {distribution.version}"
    extension = f"extension {entry_point.name!r} of the package {package}"
    return Source(package, extension=extension, place=entry_point.value)


def _results(specification: Callable[[], Any], kind: type[Any]) -> list[tuple[Source, Any]]:
    """Call a hook of every package; leave out those whose function fails or returns another
    class."""
    # The hooks are called anew each time, because a package may look at what else is installed.
    loaded = _loaded()
    name = specification.__name__
    caller: pluggy.HookCaller = getattr(loaded.manager.hook, name)
    results = []
    # Not by calling the hook: that would not tell which package a result or an error is from.
    for hook in caller.get_hookimpls():
        source = loaded.sources[hook.plugin_name]
        if source.is_own:
            results.append((source, hook.function()))
            continue

        try:
            result = run_of_package(
                f"The {source.extension}", source.place, _read_hook, name, hook.function, kind
            )
        except UsageError as error:
            leave_out(f"{error.marked}. It is left out: reinstall or remove the package")
        else:
            results.append((source, result))
    return results


def _read_hook(name: str, function: Callable[[], Any], kind: type[Any]) -> Any:
    """Call a hook, and copy its result to a dictionary or a list: the methods of the result are
    code of the package, too. Raises TypeError for what is not of the kind that the hook returns."""
    result = function()
    if not isinstance(result, kind):
        raise TypeError(f"`{name}` returns no {kind.__name__.lower()}")
    if kind is Mapping:
        places = dict(result.items())
        _check_items((*places, *places.values()), str, name)
        return places
    records = list(result)
    _check_items(records, specifications.Record, name)
    return records


def _check_items(items: Sequence[object], kind: type[Any], name: str) -> None:
    for item in items:
        if not isinstance(item, kind):
            raise TypeError(f"`{name}` returns {item!r:.80}, which is no {kind.__name__}")


def leave_out(reason: str) -> None:
    """Note why something that another package adds is left out."""
    # Each reason once, however often the hook is asked.
    message = Message(reason)
    if message not in LEFT_OUT:
        LEFT_OUT.append(message)


def _entry_points() -> list[metadata.EntryPoint]:
    """Return the entry points of GROUP; none if the metadata of a package are damaged."""
    from importlib import metadata

    # All or none: one by one, as importlib does not read them, costs more than reinstalling one.
    try:
        return list(metadata.entry_points(group=GROUP))
    except (TypeError, ValueError, OSError) as error:
        problem = f"The entry points of an installed package cannot be read: {error}"
        leave_out(f"{problem}. Reinstall or remove it; all packages are left out")
        return []
