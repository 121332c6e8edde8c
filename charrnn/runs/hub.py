"""Fetch a model from a hub, such as Hugging Face: hf:user/name, or hf:user/name@revision.

The package huggingface_hub asks the hub of HF_ENDPOINT, and keeps the files in its cache. Only the
files from which a model is read are fetched. None of them contains code, and they are checked like
those of any other model file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from charrnn.errors import CheckpointError, counted, require_package, shortened
from charrnn.runs.checkpoint import MANIFEST, MODEL
from charrnn.runs.config_files import CONFIG, VOCAB
from charrnn.runs.model_file import ModelFile, ReadFile
from charrnn.system import progress
from charrnn.system.files import MAX_TEXT_BYTES
from charrnn.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import DryRunFileInfo

HUB = "hf:"
"""What the name of a model on a hub begins with."""
MAX_ARRAY_BYTES = 1 << 32
"""Size of the weights, at most: a thousand million
values."""
MAX_BYTES = {
    MANIFEST: MAX_TEXT_BYTES,
    CONFIG: MAX_TEXT_BYTES,
    VOCAB: MAX_TEXT_BYTES,
    MODEL: MAX_ARRAY_BYTES,
}
"""The files that are fetched, and their size at most."""

_NAME = re.compile(
    r"(?!.*\.\.)hf:(?P<model>[\w.-]+/(?P<name>[\w.-]+))(?:@(?P<revision>[\w.-][\w./-]*))?", re.ASCII
)
"""Matches hf:user/name@revision. A revision is also a path in the cache, which .. would leave."""
Result = TypeVar("Result")
"""What a function of huggingface_hub returns."""


@dataclass(frozen=True)
class HubModel(ModelFile):
    """A model on a hub, whose name is its `path`. It is fetched when it is first read."""

    @property
    def name(self) -> str:
        """The name without that of the user and without the revision."""
        return _parts(self.path.as_posix())["name"]

    @cached_property
    def folder(self) -> Path:
        """The folder in the cache. Raises the errors of `fetch`."""
        # Once, because the hub may have another model when the counts are read.
        return fetch(self.path.as_posix())

    @contextmanager
    def opened(self) -> Iterator[ReadFile]:
        """Open the folder. Raises the errors of `fetch`."""
        with ModelFile(self.folder).opened() as read_file:
            yield read_file


def is_on_hub(run: str) -> bool:
    """Whether `run` has the form of the name of a model on a hub. The hub is not asked."""
    return _NAME.fullmatch(run) is not None


def _parts(source: str) -> re.Match[str]:
    match = _NAME.fullmatch(source)
    assert match is not None, f"no name of a model on a hub: {source!r}"
    return match


def fetch(source: str) -> Path:
    """Fetch the files of a model that are not in the cache of huggingface_hub yet, and return the
    folder with all of them.

    If the hub cannot be reached, the files in the cache are taken, with a warning unless
    HF_HUB_OFFLINE asks for this. Raises UsageError if the package is missing, CheckpointError if
    there is no such model or revision, if a file is missing or too large, and if the model cannot
    be fetched.
    """
    require_package("huggingface_hub", user=source, extra="hub")
    # Otherwise each request would say which other packages and programs are on this machine.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError
    from tqdm import tqdm

    # Its own bars do not know of --quiet.
    class NoBar(tqdm):  # type: ignore[type-arg]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})

    # Files of other names are neither listed nor fetched, whatever else somebody has uploaded.
    parts = _parts(source)
    download: Callable[..., Any] = partial(
        snapshot_download,
        parts["model"],
        revision=parts["revision"],
        allow_patterns=list(MAX_BYTES),
        library_name="charrnn",
        library_version=__version__,
        tqdm_class=NoBar,
    )
    with _without_warnings():
        # Ask for the sizes. Without an answer, only the cache is left.
        try:
            listed = _ask(source, partial(download, dry_run=True))
        except DryRunError as error:
            find = partial(download, local_files_only=True)
            return _find_fetched(source, find, reason=error.__cause__)

        # Fetch what is not in the cache.
        _check_files(source, listed)
        with progress.task(f"fetching {source}", unit=""):
            return Path(_ask(source, download))


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Hide the warnings of huggingface_hub, which are written for its own users."""
    import logging  # here, so that other commands start sooner

    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _find_fetched(source: str, find: Callable[[], str], reason: BaseException | None) -> Path:
    """Return the folder of a model in the cache. `reason` is why the hub does not list its
    files."""
    from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError

    # A hub does not tell a private model from a missing one.
    if isinstance(reason, RepositoryNotFoundError):
        raise CheckpointError(
            f"the hub has no model {source}, or does not show it to you\ncheck the name; if the"
            " model is private, log in: hf auth login"
        ) from reason

    # It may be older than that on the hub.
    folder = Path(_ask(source, find))
    if not isinstance(reason, OfflineModeIsEnabled):
        progress.warn(f"the hub cannot be asked for {source}: what was fetched before is used")
    return folder


def _check_files(source: str, listed: Iterable[DryRunFileInfo]) -> None:
    """Raise CheckpointError if a file is missing or too large, before any is fetched."""
    sizes = {file.filename: file.file_size for file in listed}
    # A hub in front of another one may not know the size.
    for name, most in MAX_BYTES.items():
        if name not in sizes:
            raise CheckpointError(f"{source} is not a model of charrnn export: it has no {name}")
        size = sizes.get(name) or 0
        if size > most:
            raise CheckpointError(
                f"{source}: {name} has {counted(size, 'byte')}; it may have at most {most:,}"
            )


def _ask(source: str, function: Callable[[], Result]) -> Result:
    """Call a function of huggingface_hub, and convert what it raises to CheckpointError, but for
    DryRunError."""
    from huggingface_hub.errors import DryRunError, LocalEntryNotFoundError, RevisionNotFoundError

    try:
        return function()
    except DryRunError:
        raise
    except RevisionNotFoundError as error:
        raise CheckpointError(
            f"there is no such revision: {source}\nname a branch, a tag or a commit after the @, or"
            " leave it out"
        ) from error
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"{source} was not fetched before, and the hub cannot be reached\nconnect to the"
            " network, and unset HF_HUB_OFFLINE"
        ) from error
    # The errors of HTTP are those of another package, which depends on the version of this one.
    except Exception as error:
        reason = shortened(" ".join(str(error).split()) or type(error).__name__)
        raise CheckpointError(f"cannot fetch {source}: {reason}") from error
