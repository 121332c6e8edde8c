"""Draw the automaton of docs/theory.md: train a small network on brackets, and extract it.

python docs/make_automaton_picture.py
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

PICTURE = Path(__file__).parent / "pictures" / "automaton.svg"
TRAIN = "train dyck --cell lstm --hidden-size 16 --steps 1000 --out dyck"
SHOW = "visualize dyck --automaton --export"


def main() -> None:
    """Train and draw; about ten seconds."""
    program = (sys.executable, "-m", "charrnn")
    with TemporaryDirectory() as folder:
        subprocess.run([*program, *TRAIN.split()], cwd=folder, check=True)
        subprocess.run([*program, *SHOW.split(), str(PICTURE.resolve())], cwd=folder, check=True)


if __name__ == "__main__":
    main()
