"""Play histories for some time: `python -m benchmarks.histories --seconds N [--seed S]`.

Each seed is one history. Of those in which something is wrong, the seed and what it is are printed,
and at the end faults per thousand histories. `python -m benchmarks.histories --only S` plays one again
and looks for the shortest history that fails in the same way.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[2] / "tests"
FOLDERS = (Path(__file__).parent, TESTS / "faults", TESTS / "helpers", TESTS.parent)
sys.path[:0] = map(str, FOLDERS)


def main() -> int:
    """Read the command line; return 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--steps", type=int, default=20, help="commands of a history")
    parser.add_argument("--only", type=int, metavar="SEED", help="play one, and shorten it")
    chosen = parser.parse_args()
    import environment

    with tempfile.TemporaryDirectory(prefix="histories-home-") as home:
        environment.settle(Path(home), {})
        os.environ["CHARRNN_CACHE"] = str(Path(home) / "cache")
        os.fsync = lambda descriptor: None  # what a process wrote survives it, synced or not
        from playing import play

        if chosen.only is not None:
            return int(play(chosen.only, chosen.steps, shorten=True) is not None)
        return play_all(chosen, play)


def play_all(chosen: argparse.Namespace, play) -> int:
    """Play until the time is over; return 1 if anything was wrong."""
    end = time.monotonic() + chosen.seconds
    num_played = num_wrong = 0
    while time.monotonic() < end:
        seed = chosen.seed + num_played
        num_played += 1
        problem = play(seed, chosen.steps)
        if problem is not None:
            num_wrong += 1
            print(f"== seed {seed}\n{problem}\n", flush=True)
    rate = 1000 * num_wrong / num_played
    print(f"{num_played} histories of {chosen.steps} commands from seed {chosen.seed}:")
    print(f"{num_wrong} with a fault, {rate:.1f} per thousand")
    return int(num_wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
