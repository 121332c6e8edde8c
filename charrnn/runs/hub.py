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
from threading import RLock
from typing import TYPE_CHECKING, Any

from charrnn.errors import CheckpointError, counted, require_package, shortened
from charrnn.runs.checkpoint import MANIFEST, MODEL
from charrnn.runs.config_files import CONFIG, VOCAB
from charrnn.runs.model_file import ModelFile, ReadFile
from charrnn.system import progress
from charrnn.system.files import MAX_TEXT_BYTES, convert_os_errors, write_atomically
from charrnn.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import DryRunFileInfo

MAIN = "main"
"""The branch that is meant if none is named."""
HUB = "hf:"
"""What the name of a model on a hub begins with."""
MAX_ARRAY_BYTES = 1 << 32
"""Size of the weights, at most: a thousand million values."""
MAX_BYTES = {
    MANIFEST: MAX_TEXT_BYTES,
    CONFIG: MAX_TEXT_BYTES,
    VOCAB: MAX_TEXT_BYTES,
    MODEL: MAX_ARRAY_BYTES,
}
"""The files that are fetched, and their size at most."""

MAX_SURPLUS = 1 << 20
"""Number of bytes that a hub may send above the sizes that it has listed: text is compressed."""
REMEDIES = {
    401: "log in again by hf auth login, or unset HF_TOKEN",
    403: "ask the owner of the model for access, and log in: hf auth login",
    429: "try again later, or log in: hf auth login",
}
"""What to do about an answer of the hub, by the status of HTTP."""

_MODEL = r"(?P<model>\w[\w.-]*/(?P<name>\w[\w.-]*))"
_NAME = re.compile(rf"(?!.*\.\.)hf:{_MODEL}(?:@(?P<revision>[\w.-][\w./-]*))?", re.ASCII)
"""Matches hf:user/name@revision. A revision is also a path in the cache, which .. would leave."""
_COMMIT = re.compile("[0-9a-f]{40}")
_NAMING = ("ETag", "X-Linked-ETag", "X-Repo-Commit")
"""Headers of an answer that huggingface_hub takes as names of files or folders in its cache."""
_NO_PATH = re.compile(r'(?!.*\.\.)(?:W/)?"?[\w.-]*"?', re.ASCII)
"""Matches the value of such a header, unless it leads out of the cache."""
_MEANT = re.compile(
    rf"(?:hf:/*|(?:hf:)?(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/){_MODEL}/?",
    re.ASCII | re.IGNORECASE,
)
"""Matches other ways to write the name or the address of a model."""


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


def as_on_hub(run: str) -> str:
    """Return the name of the model on a hub that is meant by another form of it, such as its
    address; "" if none is."""
    match = _MEANT.fullmatch(run)
    if match is None or not is_on_hub(f"{HUB}{match['model']}"):
        return ""
    return f"{HUB}{match['model']}"


def _commit_of(parts: re.Match[str]) -> str:
    """Ask the hub which commit a revision is. Raises its errors, ValueError for a wrong answer."""
    from huggingface_hub import HfApi

    revision: str = parts["revision"] or MAIN
    if _COMMIT.fullmatch(revision):
        return revision
    # Not by snapshot_download, which would note at once what the branch means now: a version of
    # which a file may not come.
    api = HfApi(library_name="charrnn", library_version=__version__)
    commit = api.repo_info(parts["model"], revision=revision).sha
    if commit is None or not _COMMIT.fullmatch(commit):
        raise ValueError("the hub does not say which commit this is")
    return commit


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
    # Xet names files by what the hub lists, and no answer would be there to check.
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError, RevisionNotFoundError
    from tqdm import tqdm

    # Its own bars do not know of --quiet. They count what arrives: a body may never end.
    limits: list[int] = []

    class NoBar(tqdm):  # type: ignore[type-arg]
        num_bytes = 0

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> None:
            self.num_bytes += int(n or 0)
            if limits and self.num_bytes > limits[0]:
                raise CheckpointError(f"{source}: the hub sends more than it has listed")

    # For a lock between processes, which is tqdm's own, Python 3.14 would start a process.
    NoBar.set_lock(RLock())

    # Files of other names are neither listed nor fetched, whatever else somebody has uploaded.
    parts = _parts(source)
    download: Callable[..., Any] = partial(
        snapshot_download,
        parts["model"],
        allow_patterns=list(MAX_BYTES),
        library_name="charrnn",
        library_version=__version__,
        tqdm_class=NoBar,
    )
    with _without_warnings(), _checked_answers(source):
        # Ask which commit a branch is, and for the sizes of its files. Without an answer, only the
        # cache is left.
        try:
            commit = _commit_of(parts)
            listed = download(revision=commit, dry_run=True)
        except (ValueError, RevisionNotFoundError, CheckpointError) as error:
            raise _refused(source, error) from error
        # The errors of HTTP are those of another package, which depends on the version of this one.
        except Exception as error:
            reason: BaseException | None = error
            if isinstance(error, DryRunError):
                reason = error.__cause__
            return _find_fetched(source, reason)

        # Fetch what is not in the cache: the files that were listed, whatever a branch means now.
        limits.append(_check_files(source, listed))
        with progress.task(f"fetching {source}", unit=""):
            try:
                folder = Path(download(revision=commit))
            except Exception as error:
                raise _refused(source, error) from error

    # The cache notes only now what a branch or a tag means: until then it means the older version,
    # which is whole.
    revision = parts["revision"] or MAIN
    if revision != commit:
        ref = folder.parents[1] / "refs" / revision
        with convert_os_errors("write", path=ref):
            ref.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(ref, commit.encode())
    return folder


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


@contextmanager
def _checked_answers(source: str) -> Iterator[None]:
    """Raise CheckpointError, from huggingface_hub, for an answer that would make it write outside
    of its cache."""
    from huggingface_hub import get_session

    def check(response: Any) -> None:
        # Other answers have names that are no part of a path.
        if response.request.method != "HEAD":
            return
        for header in _NAMING:
            value = response.headers.get(header, "")
            if not _NO_PATH.fullmatch(value):
                raise CheckpointError(
                    f"{source}: the hub answers with the {header} {shortened(value)!r}, which is a"
                    " path\nask another hub: HF_ENDPOINT names it"
                )

    hooks = get_session().event_hooks["response"]
    hooks.append(check)
    try:
        yield
    finally:
        hooks.remove(check)


def _find_fetched(source: str, reason: BaseException | None) -> Path:
    """Return the folder of a model in the cache. `reason` is why the hub does not list its
    files."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import OfflineModeIsEnabled

    # It may be older than that on the hub.
    parts = _parts(source)
    fetched = {}
    for name in MAX_BYTES:
        file = try_to_load_from_cache(parts["model"], name, revision=parts["revision"])
        if isinstance(file, str) and os.path.exists(file):
            fetched[name] = Path(file)
    if len(fetched) == len(MAX_BYTES):
        if not isinstance(reason, OfflineModeIsEnabled):
            progress.warn(f"the hub cannot be asked for {source}: what was fetched before is used")
        return fetched[MANIFEST].parent

    problem, remedy = _described(source, reason)
    state = "was not fetched before"
    if fetched:
        missing = ", ".join(name for name in MAX_BYTES if name not in fetched)
        state = f"was fetched only in part, without {missing}"
    raise CheckpointError(f"{source} {state}, and {problem}\n{remedy}") from reason


def _described(source: str, reason: BaseException | None) -> tuple[str, str]:
    """Return why the hub does not give a model, in its own words if it answers, and what to do."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    if isinstance(reason, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE forbids to ask the hub", "unset HF_HUB_OFFLINE"
    if not isinstance(reason, HfHubHTTPError):
        return "the hub cannot be reached", "connect to the network"

    # A hub does not tell a private model from a missing one.
    words = " ".join((reason.server_message or "").split())
    if isinstance(reason, RepositoryNotFoundError) and not words:
        problem = f"the hub has no model {source}, or does not show it to you"
        return problem, "check the name; if the model is private, log in: hf auth login"
    status = reason.response.status_code
    problem = shortened(f"the hub answers {status} {words}".strip())
    return problem, REMEDIES.get(status, "try again later")


def _check_files(source: str, listed: Iterable[DryRunFileInfo]) -> int:
    """Return how many bytes are fetched at most. Raises CheckpointError if a file is missing or too
    large, before any is fetched."""
    sizes = {file.filename: file.file_size for file in listed}
    # A hub in front of another one may not know the size.
    limit = MAX_SURPLUS
    for name, most in MAX_BYTES.items():
        if name not in sizes:
            raise CheckpointError(f"{source} is not a model of charrnn export: it has no {name}")
        size = sizes.get(name) or 0
        if size > most:
            raise CheckpointError(
                f"{source}: {name} has {counted(size, 'byte')}; it may have at most {most:,}"
            )
        limit += size or most
    return limit


def _refused(source: str, error: BaseException) -> CheckpointError:
    """Return the error for what huggingface_hub raises."""
    from huggingface_hub.errors import LocalEntryNotFoundError, RevisionNotFoundError

    if isinstance(error, CheckpointError):
        return error
    if isinstance(error, RevisionNotFoundError):
        return CheckpointError(
            f"there is no such revision: {source}\nname a branch, a tag or a commit after the @, or"
            " leave it out"
        )
    if isinstance(error, LocalEntryNotFoundError):
        problem, remedy = _described(source, error.__cause__)
        return CheckpointError(f"cannot fetch {source}: {problem}\n{remedy}")
    reason = shortened(" ".join(str(error).split()) or type(error).__name__)
    return CheckpointError(f"cannot fetch {source}: {reason}")
