"""Compare all outputs of this checkout, to the last digit, with those of another revision on the same machine.

    python tests/lock/compare.py REVISION [GROUP...]      # checks the revision out in a temporary folder
    python tests/lock/compare.py --record FILE [GROUP...]  # keeps the outputs of this checkout
    python tests/lock/compare.py --with FILE [GROUP...]    # compares this checkout with them

The bytes of weights, checkpoints and samples after short trainings belong to it, which differ between processors. Both
are run by the command lines of this folder. The exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
from record import settled_environment  # noqa: E402

CHECKOUT = Path(__file__).parents[2]
MAX_LINES = 24
"""Lines of a difference that are printed."""


def main() -> int:
    """Parse the command line; return 1 if outputs differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, metavar="FILE")
    parser.add_argument("--with", dest="other", type=Path, metavar="FILE")
    parser.add_argument("--checkout", type=Path, default=CHECKOUT, help="the checkout whose outputs are recorded")
    parser.add_argument("words", nargs="*", metavar="[REVISION] GROUP")
    given = parser.parse_args()
    if os.environ.get("LOCK_SETTLED"):
        _record_here(given.record, given.words)
        return 0
    if given.record:
        _record(given.checkout, given.record.resolve(), given.words)
        return 0
    with tempfile.TemporaryDirectory(prefix="lock-compare-") as name:
        folder = Path(name)
        groups = given.words if given.other else given.words[1:]
        if given.other:
            before = given.other
        elif given.words:
            before = folder / "before.json"
            _record_revision(given.words[0], folder / "checkout", before, groups)
        else:
            parser.error("give a revision, --record FILE or --with FILE")
        _record(given.checkout, folder / "now.json", groups)
        return _compare(_read(before), _read(folder / "now.json"), groups)


def _record_revision(revision: str, folder: Path, file: Path, groups: list[str]) -> None:
    git = ["git", "-C", str(CHECKOUT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), revision], check=True)
    try:
        _record(folder, file, groups)
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def _record(checkout: Path, file: Path, groups: list[str]) -> None:
    """Run all cases in a process that imports charrnn from `checkout`."""
    with tempfile.TemporaryDirectory(prefix="lock-home-") as home:
        environment = settled_environment(home) | {"LOCK_SETTLED": "1", "PYTHONPATH": str(checkout.resolve())}
        subprocess.run([sys.executable, __file__, "--record", str(file), *groups], env=environment, check=True)


def _record_here(file: Path, groups: list[str]) -> None:
    import locked
    from lock_cases import GROUPS

    results: dict[str, dict[str, Any]] = {}
    for group in groups or GROUPS:
        with locked.new_laboratory() as folder:
            for case in GROUPS[group]:
                results.setdefault(group, {})[case.line] = locked.run_case(case, folder)
        print(f"{group}: {len(results[group])} command lines", file=sys.stderr, flush=True)
    file.write_text(json.dumps(results, ensure_ascii=False), encoding="utf-8")


def _read(file: Path) -> dict[str, dict[str, Any]]:
    results: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return results


def _compare(before: dict[str, Any], now: dict[str, Any], groups: list[str]) -> int:
    """Print each difference; return 1 if there is one."""
    num_cases = num_different = 0
    for group in groups or {**before, **now}:
        old, new = before.get(group, {}), now.get(group, {})
        for line in {**old, **new}:
            num_cases += 1
            if old.get(line) != new.get(line):
                num_different += 1
                print(f"\n== charrnn {line}   [{group}]")
                _print_difference(old.get(line), new.get(line))
    print(f"\n{num_cases} command lines, {num_different} of them different")
    return 1 if num_different else 0


def _print_difference(old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
    if old is None or new is None:
        print("is only " + ("now" if old is None else "before"))
        return
    if old["code"] != new["code"]:
        print(f"exit code {old['code']} → {new['code']}")
    was, now = ({"stdout": ran["out"], "stderr": ran["err"], **ran["files"]} for ran in (old, new))
    for name in {**was, **now}:
        first, second = was.get(name), now.get(name)
        if first != second:
            lines = ((text or "").splitlines() for text in (first, second))
            changed = [
                line[:240] for line in difflib.unified_diff(*lines, f"before {name}", f"now {name}", n=0, lineterm="")
            ]
            print("\n".join(changed[:MAX_LINES]))
            if len(changed) > MAX_LINES:
                print(f"… and {len(changed) - MAX_LINES} lines")


if __name__ == "__main__":
    sys.exit(main())
