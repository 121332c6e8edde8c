"""What the rooms of charrnn and other installed packages add to it: commands, analyses, methods of
a model, formats.

An entry point of the group `charrnn.hooks.extensions` names a *room*: a package or a module. It
declares what it needs of:

    COMMANDS = (CommandEntry(name="explore", summary="Browse the cells.", function="my_room.explore:explore"),)
    MODULES = ("my_room.entropy",)        modules with further declarations, imported when one is looked for
    EXTENSIONS = (Analysis(...),)         declared objects, here or in one of MODULES

Scanning takes milliseconds per installed package and loading runs their code, so neither happens on
import. Cells and detectors are entry points of their own groups, of which only the one that is
asked for is loaded.

The core never imports a room: it asks for objects of a class by `offered`. The classes stand in the
modules that use them, except for those at the end of this module.
"""  # noqa: E501

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from traceback import walk_tb
from types import FrameType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from charrnn.errors import Message, UsageError

if TYPE_CHECKING:
    from importlib import metadata

GROUP = "charrnn.extensions"
"""The group of the entry points that name rooms."""
Kind = TypeVar("Kind")
"""The class of the objects that are looked for."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """What an installed package offers under a name."""

    kind: str
    """What it is, for messages, such as "detector"."""
    name: str
    package: str
    """The name and the version of the package."""
    entry_point: metadata.EntryPoint

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} of the package {self.package}"

    @property
    def is_own(self) -> bool:
        """Whether it is a part of charrnn itself."""
        # The package had the second name before its first release.
        return self.entry_point.value.startswith("charrnn.") and self.package.split()[0] in (
            "charrnn-lab",
            "charrnn",
        )

    def load(self) -> object:
        """Import and return the object. Raises UsageError, which names the package, if that
        fails."""
        return self.run(self.entry_point.load)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of the plugin; see `run_foreign`."""
        package = self.entry_point.value.partition(":")[0].partition(".")[0]

        def is_of_plugin(frame: FrameType) -> bool:
            return str(frame.f_globals.get("__name__")).partition(".")[0] == package

        return run_foreign(f"The {self}", is_of_plugin, function, *arguments)


def plugin_names(group: str) -> list[str]:
    """The names that installed packages offer in an entry point group, sorted. Raises UsageError as
    `find_plugin`."""
    return sorted({plugin.name for plugin in scan_plugins(group, "plugin")})


def scan_plugins(group: str, kind: str) -> list[Plugin]:
    """Return all plugins of an entry point group, in no particular order. Raises UsageError as
    `find_plugin`."""
    of_rooms = () if group == GROUP else _rooms()
    return [_plugin(kind, entry_point) for entry_point in _scan(group)] + [
        Plugin(kind, entry.name, room.package, entry.entry_point())
        for room, module in of_rooms
        for entry in getattr(module, "EXTENSIONS", ())
        if isinstance(entry, PluginEntry) and entry.group == group
    ]


def find_plugin(group: str, kind: str, name: str, built_in: Collection[str]) -> Plugin | None:
    """The plugin of this name, or None if no installed package offers one.

    Raises UsageError if the name is ambiguous: offered by two packages, or by one and among the
    names in `built_in`.
    """
    plugins = [plugin for plugin in scan_plugins(group, kind) if plugin.name == name]
    owners = ["charrnn"] * (name in built_in) + [
        f"the package {plugin.package}" for plugin in plugins
    ]
    if len(owners) > 1:
        raise UsageError(
            f"The {kind} {name!r} is offered twice: by {' and by '.join(owners)}.\n"
            "Uninstall one of the packages, or rename its entry point."
        )
    return plugins[0] if plugins else None


def run_foreign(
    what: str, is_theirs: Callable[[FrameType], bool], function: Callable[..., Any], *arguments: Any
) -> Any:
    """Call a function that is not part of charrnn; whatever it raises becomes one UsageError.

    The message starts with `what` and names the last line in a frame for which `is_theirs` holds.
    What the function prints goes to stderr: stdout is for results.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return function(*arguments)
    except (
        Exception,
        SystemExit,
    ) as error:  # whatever code that is not of charrnn raises: its fault, in one error
        message, where = str(error), ""
        if isinstance(error, SyntaxError):
            message, where = (
                error.msg,
                f" in {error.filename}, line {error.lineno}" if error.filename else "",
            )
        for frame, line in walk_tb(error.__traceback__):
            if is_theirs(frame):
                where = f" in {frame.f_code.co_filename}, line {line}"
        raise UsageError(f"{what} failed{where}: {type(error).__name__}: {message}") from error


def _scan(group: str) -> list[metadata.EntryPoint]:
    from importlib import metadata

    try:
        return list(metadata.entry_points(group=group))
    except (TypeError, ValueError, OSError) as error:
        problem = f"The entry points of an installed package cannot be read: {error}"
        message = Message(f"{problem}. Reinstall or remove it; it is left out")
        LEFT_OUT.extend([message] if message not in LEFT_OUT else [])
    found: dict[str, list[metadata.EntryPoint]] = {}
    for distribution in metadata.distributions():
        with contextlib.suppress(TypeError, ValueError, OSError):
            of_group = [
                entry_point
                for entry_point in distribution.entry_points
                if entry_point.group == group
            ]
            found.setdefault(
                distribution.name, of_group
            )  # of two versions on the path the first one counts
    return [entry_point for of_group in found.values() for entry_point in of_group]


def _plugin(kind: str, entry_point: metadata.EntryPoint) -> Plugin:
    distribution = entry_point.dist
    package = "unknown" if distribution is None else f"{distribution.name} {distribution.version}"
    return Plugin(kind, entry_point.name, package, entry_point)


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A command whose module is imported when it runs or shows its help."""

    name: str
    summary: str
    """The line of `charrnn --help`."""
    function: str
    """The function with Typer's annotations, or the `typer.Typer` of several commands, as
    "module:name"."""

    def load(self) -> Any:
        """Import the module and return the function."""
        module, _, name = self.function.partition(":")
        return getattr(import_module(module), name)


@dataclass(frozen=True, slots=True)
class PluginEntry:
    """A cell or a detector that a room declares in its own EXTENSIONS, as an entry point of that
    group would."""

    group: str
    name: str
    value: str
    """The object, as "module:name"."""

    def entry_point(self) -> metadata.EntryPoint:
        """Return the entry point that the metadata of a package would have."""
        from importlib import metadata

        return metadata.EntryPoint(name=self.name, value=self.value, group=self.group)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledSampling:
    """A module with compiled `loops`, imported where a text is long enough.

    A room declares it in its own EXTENSIONS. The module has what `generation.sampling` uses of
    `compiled.sampling`.
    """

    module: str
    loops: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookDrawing:
    """A module whose function `to_html` returns the HTML of an object, or None if it draws no such
    object.

    A room declares it in its own EXTENSIONS.
    """

    module: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedFunction:
    """A function that a room or another package adds under a name. The subclasses say to what."""

    name: str
    function: Callable[..., Any]


class ModelMethod(AddedFunction):
    """A method of `charrnn.Model`: a function that takes the model as its first argument."""


class PackageFunction(AddedFunction):
    """A name of the package `charrnn`, such as `charrnn.sweep`: a function or a class."""


class Extensible:
    """Base class of objects to which rooms and other packages add methods."""

    METHODS: ClassVar[type[AddedFunction]]
    """Class of the declared objects that are methods: the first argument of each function is the
    object."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return an added method."""
        function = None if name.startswith("_") else find_function(self.METHODS, name)
        if function is None:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self
            )
        return MethodType(function, self)


def offers(kind: type[Kind], *functions: Callable[..., Any]) -> tuple[Kind, ...]:
    """Return what EXTENSIONS says of functions that a kind such as ModelMethod offers under their
    own names."""
    return tuple(kind(name=function.__name__, function=function) for function in functions)  # type: ignore[call-arg]


def module_names(package: str, path: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the modules in a package: for MODULES of a room in which every module may
    declare objects."""
    return tuple(f"{package}.{module.name}" for module in iter_modules(path))


LEFT_OUT: list[Message] = []
"""Why rooms of other packages are left out, one sentence each: what they would add is missing, all
else works."""


def _import(plugin: Plugin, name: str) -> ModuleType | None:
    """Import a module of a room; None, with a reason in LEFT_OUT, if that of another package cannot
    be used."""
    if plugin.is_own:  # An error in charrnn itself is a bug, which is reported with its traceback.
        return import_module(name)
    try:
        module: ModuleType = plugin.run(import_module, name)
    except UsageError as error:
        LEFT_OUT.append(Message(f"{error.marked}. It is left out: reinstall or remove the package"))
        return None
    for declared, kind in (("COMMANDS", CommandEntry), ("MODULES", str), ("EXTENSIONS", object)):
        value = getattr(module, declared, ())
        if not isinstance(value, tuple) or not all(isinstance(one, kind) for one in value):
            LEFT_OUT.append(
                Message(f"The {plugin} is left out: its {declared} is no tuple of {kind.__name__}")
            )
            return None
    return module


@cache
def _rooms() -> tuple[tuple[Plugin, ModuleType], ...]:
    """Import the packages and modules that entry points of GROUP name, those of charrnn first, each
    one once."""
    plugins = sorted(scan_plugins(GROUP, "extension"), key=lambda plugin: not plugin.is_own)
    rooms = {
        plugin.entry_point.value: (plugin, _import(plugin, plugin.entry_point.value))
        for plugin in plugins
    }
    return tuple((plugin, room) for plugin, room in rooms.values() if room is not None)


@cache
def commands() -> dict[str, CommandEntry]:
    """Return the commands of all rooms by name; of two with one name the first, with a reason in
    LEFT_OUT."""
    entries: dict[str, CommandEntry] = {}
    for plugin, room in _rooms():
        for entry in getattr(room, "COMMANDS", ()):
            if entry.name in entries:
                LEFT_OUT.append(
                    Message(
                        f"The {plugin} offers a second command {entry.name!r}, which is left out"
                    )
                )
            entries.setdefault(entry.name, entry)
    return entries


@cache
def _declared() -> tuple[object, ...]:
    return tuple(
        declared
        for plugin, room in _rooms()
        for name in (room.__name__, *getattr(room, "MODULES", ()))
        for declared in getattr(_import(plugin, name), "EXTENSIONS", ())
    )


def offered(kind: type[Kind]) -> tuple[Kind, ...]:
    """Return all declared objects of a class, in the order of the rooms and of their modules."""
    return tuple(declared for declared in _declared() if isinstance(declared, kind))


def offered_by_rooms(kind: type[Kind]) -> tuple[Kind, ...]:
    """Return the objects of a class that the rooms themselves declare; their MODULES are not
    imported."""
    return tuple(
        one
        for _, room in _rooms()
        for one in getattr(room, "EXTENSIONS", ())
        if isinstance(one, kind)
    )


def find_function(kind: type[AddedFunction], name: str) -> Callable[..., Any] | None:
    """Return the function that is declared under a name, None if there is none."""
    return next((declared.function for declared in offered(kind) if declared.name == name), None)
