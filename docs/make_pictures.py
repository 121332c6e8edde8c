"""Draw the picture of the exported page that the README shows: `python docs/make_pictures.py`.

It needs chromium. The page is that of the included model, which writes the same text everywhere.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import charrnn

PICTURE = Path(__file__).with_name("pictures") / "page.png"
"""The file that is written."""
SIZE = "760,470"
"""Pixels of the window."""
WRITING_MS = 11_000
"""Time of the page's clock at which the picture is taken: some lines are written by then."""


def main() -> None:
    """Export the page, open it and take the picture."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("chromium is not installed")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        charrnn.load("prose").export(page)
        subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--hide-scrollbars",
                f"--window-size={SIZE}",
                f"--virtual-time-budget={WRITING_MS}",
                f"--screenshot={PICTURE}",
                page.as_uri(),
            ],
            check=True,
        )
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
