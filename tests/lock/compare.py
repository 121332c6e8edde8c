"""Compare all outputs of this checkout, to the last digit, with those of another revision on the
same machine.

    python tests/lock/compare.py REVISION [GROUP...]      # checks the revision out in a temporary folder

The bytes of weights, checkpoints and samples after short trainings belong to it, which differ
between processors. Both are run by the command lines of this folder. The exit code is 1 if anything
differs.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "helpers")]
from record import settled_environment  # noqa: E402

CHECKOUT = Path(__file__).parents[2]
MAX_LINES = 24
"""Lines of a difference that are printed."""


def main() -> int:
    """Read the command line; return 1 if outputs differ."""
    if os.environ.get("LOCK_SETTLED"):
        _record_here(Path(sys.argv[1]), sys.argv[2:])
        return 0
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    revision, *groups = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="lock-compare-") as name:
        before, worktree = Path(name, "checkout"), ["git", "-C", str(CHECKOUT), "worktree"]
        subprocess.run([*worktree, "add", "--quiet", "--detach", str(before), revision], check=True)
        try:
            return _compare(
                *(
                    _record(folder, Path(name, "record.json"), groups)
                    for folder in (before, CHECKOUT)
                )
            )
        finally:
            subprocess.run([*worktree, "remove", "--force", str(before)], check=True)


def _record(checkout: Path, file: Path, groups: list[str]) -> dict[str, dict[str, Any]]:
    """Run all cases in a process that imports charrnn from `checkout`, which writes the results to
    `file`."""
    with tempfile.TemporaryDirectory(prefix="lock-home-") as home:
        environment = settled_environment(home) | {"LOCK_SETTLED": "1", "PYTHONPATH": str(checkout)}
        subprocess.run([sys.executable, __file__, str(file), *groups], env=environment, check=True)
    results: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return results


def _record_here(file: Path, groups: list[str]) -> None:
    import locked
    from lock_cases import GROUPS

    results: dict[str, dict[str, Any]] = {}
    for group in groups or GROUPS:
        with locked.new_laboratory() as folder:
            for case in GROUPS[group]:
                ran, files, _ = locked.run_case(case, folder)
                result = dataclasses.asdict(ran) | {"files": files}
                results.setdefault(group, {})[case.line] = result
        print(f"{group}: {len(results[group])} command lines", file=sys.stderr, flush=True)
    file.write_text(json.dumps(results, ensure_ascii=False), encoding="utf-8")


def _compare(before: dict[str, Any], now: dict[str, Any]) -> int:
    """Print each difference; return 1 if there is one."""
    num_cases = num_different = 0
    for group in {**before, **now}:
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
    was = {"stdout": old["out"], "stderr": old["err"], **old["files"]}
    now = {"stdout": new["out"], "stderr": new["err"], **new["files"]}
    for name in {**was, **now}:
        first = was.get(name) or ""
        second = now.get(name) or ""
        if first != second:
            difference = difflib.unified_diff(
                first.splitlines(),
                second.splitlines(),
                f"before {name}",
                f"now {name}",
                n=0,
                lineterm="",
            )
            changed = [line[:240] for line in difference]
            print("\n".join(changed[:MAX_LINES]))
            if len(changed) > MAX_LINES:
                print(f"… and {len(changed) - MAX_LINES} lines")


if __name__ == "__main__":
    sys.exit(main())
