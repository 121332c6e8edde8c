"""Plugins: objects that other installed packages offer to charrnn through entry points.

Scanning takes milliseconds per installed package and loading runs their code, so neither happens on import: a group is
scanned when a name in it is asked for, and only the plugin of that name is loaded. See docs/extending.md.
"""

import contextlib
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from charrnn.errors import UsageError

if TYPE_CHECKING:
    from importlib import metadata


@dataclass(frozen=True, slots=True)
class Plugin:
    """What an installed package offers under a name."""

    kind: str
    """What it is, for messages, such as "detector"."""
    name: str
    package: str
    """The name and the version of the package."""
    entry_point: "metadata.EntryPoint"

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} of the package {self.package}"

    @property
    def is_own(self) -> bool:
        """Whether it is a part of charrnn itself."""
        return self.entry_point.value.startswith("charrnn.")

    def load(self) -> object:
        """Import and return the object. Raises UsageError, which names the package, if that fails."""
        return self.run(self.entry_point.load)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of the plugin; see `run_foreign`."""
        package = self.entry_point.value.partition(":")[0].partition(".")[0]

        def is_of_plugin(frame: FrameType) -> bool:
            return str(frame.f_globals.get("__name__")).partition(".")[0] == package

        return run_foreign(f"The {self}", is_of_plugin, function, *arguments)


def plugin_names(group: str) -> list[str]:
    """The names that installed packages offer in an entry point group, sorted. Raises UsageError as `find_plugin`."""
    return sorted({entry_point.name for entry_point in _scan(group)})


def scan_plugins(group: str, kind: str) -> list[Plugin]:
    """Return all plugins of an entry point group, in no particular order. Raises UsageError as `find_plugin`."""
    return [_plugin(kind, entry_point) for entry_point in _scan(group)]


def find_plugin(group: str, kind: str, name: str, built_in: Collection[str]) -> Plugin | None:
    """The plugin of this name, or None if no installed package offers one.

    Raises UsageError if the name is ambiguous: offered by two packages, or by one and among the names in `built_in`.
    """
    plugins = [plugin for plugin in scan_plugins(group, kind) if plugin.name == name]
    owners = ["charrnn"] * (name in built_in) + [f"the package {plugin.package}" for plugin in plugins]
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

    The message starts with `what` and names the last line in a frame for which `is_theirs` holds. What the function
    prints goes to stderr: stdout is for results.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return function(*arguments)
    except (Exception, SystemExit) as error:  # whatever code that is not of charrnn raises: its fault, in one error
        message, where = str(error), ""
        if isinstance(error, SyntaxError):
            message, where = error.msg, f" in {error.filename}, line {error.lineno}" if error.filename else ""
        step = error.__traceback__
        while step is not None:
            if is_theirs(step.tb_frame):
                where = f" in {step.tb_frame.f_code.co_filename}, line {step.tb_lineno}"
            step = step.tb_next
        raise UsageError(f"{what} failed{where}: {type(error).__name__}: {message}") from error


def _scan(group: str) -> "list[metadata.EntryPoint]":
    from importlib import metadata

    try:
        return list(metadata.entry_points(group=group))
    except (TypeError, ValueError, OSError) as error:
        damaged = next(filter(_is_damaged, metadata.distributions()), None)
        package = "an installed package" if damaged is None else f"the package {damaged.name} {damaged.version}"
        raise UsageError(f"Cannot read the entry points of {package}: {error}. Reinstall or remove it.") from None


def _is_damaged(distribution: "metadata.Distribution") -> bool:
    try:
        list(distribution.entry_points)
    except (TypeError, ValueError, OSError):
        return True
    return False


def _plugin(kind: str, entry_point: "metadata.EntryPoint") -> Plugin:
    distribution = entry_point.dist
    package = "unknown" if distribution is None else f"{distribution.name} {distribution.version}"
    return Plugin(kind, entry_point.name, package, entry_point)
