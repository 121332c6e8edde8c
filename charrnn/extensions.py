"""What the rooms of charrnn and other installed packages add to it: commands, analyses, methods of a model, formats.

An entry point of the group `charrnn.extensions` names a *room*: a package or a module. It declares what it needs of:

    COMMANDS = (CommandEntry(name="explore", summary="Browse the cells.", function="my_room.explore:explore"),)
    MODULES = ("my_room.entropy",)        modules with further declarations, imported when one is looked for
    EXTENSIONS = (Analysis(...),)         declared objects, here or in one of MODULES

The core never imports a room: it asks for objects of a class by `offered`. The classes stand in the modules that use
them, except for those at the end of this module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, TypeVar

from charrnn.errors import UsageError
from charrnn.plugins import Plugin, scan_plugins

GROUP = "charrnn.extensions"
"""The group of the entry points that name rooms."""
Kind = TypeVar("Kind")
"""The class of the objects that are looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEntry:
    """A command whose module is imported when it runs or shows its help."""

    name: str
    summary: str
    """The line of `charrnn --help`."""
    function: str
    """The function with Typer's annotations, or the `typer.Typer` of several commands, as "module:name"."""

    def load(self) -> Any:
        """Import the module and return the function."""
        module, _, name = self.function.partition(":")
        return getattr(import_module(module), name)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledSampling:
    """A module with compiled loops that draw characters, imported where a text is long enough.

    A room declares it in its own EXTENSIONS. The module has what `generation.sampling` uses of `scale.compiled`.
    """

    module: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMethod:
    """A method of `charrnn.Model`: a function that takes the model as its first argument."""

    name: str
    function: Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFunction:
    """A name of the package `charrnn`, such as `charrnn.sweep`: a function or a class."""

    name: str
    function: Callable[..., Any]


def module_names(package: str, path: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the modules in a package: for MODULES of a room in which every module may declare objects."""
    return tuple(f"{package}.{module.name}" for module in iter_modules(path))


@cache
def _rooms() -> tuple[tuple[Plugin, ModuleType], ...]:
    """Import the packages and modules that entry points of GROUP name, those of charrnn first.

    Raises UsageError, which names the package, for one that cannot be imported.
    """
    plugins = sorted(scan_plugins(GROUP, "extension"), key=lambda plugin: not plugin.is_own)
    return tuple((plugin, _import(plugin, plugin.entry_point.value)) for plugin in plugins)


def _import(plugin: Plugin, name: str) -> ModuleType:
    # An error in charrnn itself is a bug, which is reported with its traceback.
    module: ModuleType = import_module(name) if plugin.is_own else plugin.run(import_module, name)
    return module


def commands() -> dict[str, CommandEntry]:
    """Return the commands of all rooms by name.

    Raises UsageError for a room that cannot be imported and for a name that is offered twice.
    """
    entries: dict[str, CommandEntry] = {}
    for plugin, room in _rooms():
        for entry in getattr(room, "COMMANDS", ()):
            if entry.name in entries:
                raise UsageError(f"The {plugin} offers a second command {entry.name!r}. Uninstall one of the packages.")
            entries[entry.name] = entry
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
    """Return all declared objects of a class, in the order of the rooms and of their modules. Raises as `commands`."""
    return tuple(declared for declared in _declared() if isinstance(declared, kind))


def offered_by_rooms(kind: type[Kind]) -> tuple[Kind, ...]:
    """Return the objects of a class that the rooms themselves declare; their MODULES are not imported."""
    declared = (one for _, room in _rooms() for one in getattr(room, "EXTENSIONS", ()))
    return tuple(one for one in declared if isinstance(one, kind))


def find_function(kind: type[ModelMethod] | type[PackageFunction], name: str) -> Callable[..., Any] | None:
    """Return the function that is declared under a name, None if there is none."""
    return next((declared.function for declared in offered(kind) if declared.name == name), None)
