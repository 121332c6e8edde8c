"""Choose the folders in which charrnn keeps what it can make again."""

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Return a folder in CHARRNN_CACHE or in the user's cache folder. The folder is made if it is
    missing.

    Raises OSError if it cannot be made, or if `private_folder` refuses it.
    """
    chosen = os.environ.get("CHARRNN_CACHE")
    if not chosen:
        from platformdirs import user_cache_dir  # here, so that other commands start sooner

        # Its earlier versions leave the ~ of a user without a home in the path.
        try:
            chosen = user_cache_dir("charrnn", appauthor=False)
        except RuntimeError as error:
            raise OSError(str(error)) from None
    return private_folder(Path(os.path.expanduser(chosen), name))


def private_folder(folder: Path) -> Path:
    """Return a folder, which is made if it is missing, after a check that only this user can write
    to it.

    Raises OSError for a folder whose path is relative or begins with ~, whose owner is another
    user, or that other users can write to.
    """
    # Without a home, ~ stays in the path. It and a relative path are folders of the current folder,
    # which may have come with somebody's archive.
    if not folder.is_absolute():
        raise OSError(f"{folder} is not an absolute path")

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Windows protects the folders of a user by other means.
    if hasattr(os, "geteuid"):
        status = folder.stat()
        if status.st_uid != os.geteuid():
            raise OSError(f"{folder} belongs to another user")
        if status.st_mode & 0o022:
            raise OSError(f"other users can write to {folder}")
    return folder
