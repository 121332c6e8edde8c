"""Sample tunes with a given metre and key, and count those that abc2midi accepts.

A model of tunes in ABC, one document each, is trained on the 340 jigs of the Nottingham music
database (jigs.abc of its ABC version), or given with `--run`. Every tune continues the same header, which ends in
`M:6/8` and `K:G`. It prints how many have ended by themselves, how many abc2midi (Debian package
abcmidi) reads without an error, the same for tunes of the text, and how many are new.

    apt-get install abcmidi
    python benchmarks/losses/tunes.py nottingham-jigs.abc --minutes 10
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HEADER = "X: 1\nT:A Tune\n% Nottingham Music Database\nS:charrnn\nM:6/8\nK:{key}\n"
"""Begins as the tunes of the text do."""


def output_of(*arguments: str) -> str:
    """Return what a command of charrnn prints on stdout."""
    command = [sys.executable, "-m", "charrnn", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def num_accepted(tunes: Sequence[str], folder: str) -> int:
    """Count the tunes in which abc2midi finds no error."""
    source, target = Path(folder, "tune.abc"), Path(folder, "tune.mid")
    count = 0
    for tune in tunes:
        source.write_text(tune + "\n", "utf-8")
        command = ["abc2midi", str(source), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).splitlines()
        if done.returncode == 0 and not any(line.startswith("Error") for line in lines):
            count += 1
    return count


def main() -> None:
    """Train, sample and count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path, help="tunes in ABC, with blank lines between them")
    parser.add_argument("--run", help="a run that is trained already")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--key", default="G")
    parser.add_argument("--temp", type=float, default=0.7)
    parser.add_argument("--top-p", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    known = [tune.strip("\n") for tune in arguments.text.read_text("utf-8").split("\n\n")]
    known = [tune for tune in known if tune.strip()]
    with tempfile.TemporaryDirectory() as folder:
        run = arguments.run
        if run is None:
            run = str(Path(folder, "tunes"))
            words = ("--documents", "blank-lines", "--minutes", f"{arguments.minutes:g}")
            output_of("train", str(arguments.text), *words, "--out", run, "--quiet")

        # A tune each, from its header to its END.
        prime = HEADER.format(key=arguments.key)
        drawing = ("--temp", f"{arguments.temp}", "--top-p", f"{arguments.top_p}")
        drawing += ("--seed", f"{arguments.seed}", "--length", "2000")
        how = ("--count", f"{arguments.count}", "--unique", "--json", "--prime", prime)
        found = output_of("sample", run, *drawing, *how)
        drawn = [json.loads(line) for line in found.splitlines()]
        tunes = [prime + one["text"] for one in drawn]
        bodies = {tune.partition("\nK:")[2].partition("\n")[2] for tune in known}
        print(f"ended by themselves: {sum(one['has_ended'] for one in drawn)} of {len(drawn)}")
        print(f"accepted by abc2midi: {num_accepted(tunes, folder)} of {len(tunes)}")
        print(f"not in the text: {sum(one['text'] not in bodies for one in drawn)}")
        shown = known[: len(tunes)]
        print(f"tunes of the text accepted: {num_accepted(shown, folder)} of {len(shown)}")
        print(f"\n{tunes[0]}")


if __name__ == "__main__":
    main()
