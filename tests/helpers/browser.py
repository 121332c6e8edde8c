"""A browser without a window, for tests of pages: chromium or chrome, if this machine has one."""

import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
"""The program."""


def needs_browser(test):
    """Decorate a test that opens a page in a browser: it is slow, and skipped without a browser."""
    is_missing = pytest.mark.skipif(
        BROWSER is None, reason="there is no chromium or chrome on this machine"
    )
    return pytest.mark.slow(is_missing(test))


FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
"""Flags of every browser: no window, and nothing that asks a network."""


def dump(address: str, folder: Path, *flags: str) -> str:
    """Return the elements of a page after 20 seconds of its clock; `folder` keeps the browser's
    files, and `flags` are further ones."""
    assert BROWSER is not None
    command = [
        BROWSER,
        *FLAGS,
        *flags,
        f"--user-data-dir={folder / 'user'}",
        "--virtual-time-budget=20000",
        "--dump-dom",
        address,
    ]
    return subprocess.run(
        command, capture_output=True, timeout=600, check=True, encoding="utf-8"
    ).stdout
