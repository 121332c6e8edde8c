"""Import matplotlib and draw with it so that nothing of the user, the environment or the current
folder changes a chart, and that nothing of this process is changed.

matplotlib reads settings from the current folder, from the user's folders and from environment
variables while it is imported, writes a list of the fonts to one of these folders, and logs on
stderr what it could not do. pyplot, which opens windows and keeps figures, is never imported.
"""

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from typing import Any

from charrnn.system.cache_folders import cache_folder

MODULES = (
    "matplotlib.figure",
    "matplotlib.font_manager",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_pdf",
    "matplotlib.backends.backend_svg",
)
"""The modules that draw charts."""
FOLDER = "MPLCONFIGDIR"
"""The environment variable that names the folder of the settings and of the list of fonts."""
CHOICES = ("MATPLOTLIBRC", "MPLBACKEND")
"""The environment variables that choose settings."""


@contextmanager
def matplotlib_with(settings: Mapping[str, Any]) -> Iterator[None]:
    """Import what draws charts, and give it its own default settings but for these, until the block
    ends.

    One needs it around everything that matplotlib does: texts are measured when they are drawn.
    Neither a warning nor its log reaches stderr.
    """
    with _silence():
        _import_modules()
        import matplotlib

        # The backend is a setting of pyplot alone.
        chosen: Any = {**matplotlib.rcParamsDefault, **dict[Any, Any](settings)}
        del chosen["backend"]
        with matplotlib.rc_context(chosen):
            yield


def _import_modules() -> None:
    """Import MODULES. The list of fonts is kept in a cache folder of charrnn, or nowhere if there
    is none: it is made again in a second."""
    with ExitStack() as stack:
        try:
            folder = str(cache_folder("matplotlib"))
        except OSError:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="charrnn-"))
        stack.enter_context(_environment_of(folder))
        stack.enter_context(_current_folder(folder))
        for module in MODULES:
            import_module(module)


@contextmanager
def _silence() -> Iterator[None]:
    """Let neither warnings nor the log of matplotlib reach stderr."""
    logger = logging.getLogger("matplotlib")
    handler = logging.NullHandler()
    propagates = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


@contextmanager
def _environment_of(folder: str) -> Iterator[None]:
    """Let the environment name a folder, and choose no settings."""
    before = {name: os.environ.get(name) for name in (FOLDER, *CHOICES)}
    try:
        for name in CHOICES:
            os.environ.pop(name, None)
        os.environ[FOLDER] = folder
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _current_folder(folder: str) -> Iterator[None]:
    """Change the current folder: matplotlib obeys a file `matplotlibrc` in it, which may be
    anybody's."""
    # A folder that was removed has no such file, and no name to come back to.
    before = ""
    with suppress(OSError):
        before = os.getcwd()
        os.chdir(folder)
    try:
        yield
    finally:
        if before:
            os.chdir(before)
