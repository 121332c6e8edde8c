"""Choose the folders for caches, whose content can be made again."""

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Return a folder in CHARRNN_CACHE or in the user's cache folder, which is created if it is
    missing.

    What can be computed again is kept there, in a folder for each kind.

    Raises OSError if it cannot be created, or if `private_folder` refuses it.
    """
    parent = os.environ.get("CHARRNN_CACHE")
    if not parent:
        from platformdirs import user_cache_dir  # here, so that other commands start sooner

        # Earlier versions of platformdirs leave the ~ of a user without a home in the path.
        try:
            parent = user_cache_dir("charrnn", appauthor=False)
        except RuntimeError as error:
            raise OSError(str(error)) from None
    return private_folder(Path(os.path.expanduser(parent), name))


def private_folder(folder: Path) -> Path:
    """Create a folder if it is missing, check that only this user can write to it, and return it.

    It is for a folder that a user has chosen, and `cache_folder` for the usual one: machine code is
    loaded from both, which nobody else must be able to put there.

    Raises OSError if its path is relative or begins with ~, if another user owns it, or if other
    users can write to it.
    """
    # Without a home, ~ stays in the path. Such a path and a relative path would be in the current
    # folder, which may have come with an archive from somebody else.
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
