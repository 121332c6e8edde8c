"""Write the records that `test_behaviour.py` compares: `python tests/lock/record.py [GROUP...]`.

Run it after a deliberate change of an output, and look at the difference with git.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "helpers")]

PASSED = (
    "PATH",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "TMPDIR",
    "PYTHONPATH",
    "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES",
    "ONEDNN_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "NPY_DISABLE_CPU_FEATURES",
    "OPENBLAS_CORETYPE",
)
"""Variables that a command of the lock inherits: where programs are, and the processor to imitate.
"""


def settled_environment(home: str) -> dict[str, str]:
    """Return the environment of a command: the same whoever calls it."""
    passed = {name: os.environ[name] for name in PASSED if name in os.environ}
    fixed = {
        "HOME": home,
        "COLUMNS": "80",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "OMP_NUM_THREADS": "1",
    }
    return {"PYTHONPATH": str(Path(__file__).parents[2])} | passed | fixed | {"PYTHONHASHSEED": "0"}


def main() -> int:
    """Run this script again in a settled environment, and then record."""
    if os.environ.get("LOCK_SETTLED"):
        _record(sys.argv[1:])
        return 0
    with tempfile.TemporaryDirectory(prefix="lock-home-") as home:
        environment = settled_environment(home) | {"LOCK_SETTLED": "1"}
        return subprocess.run(
            [sys.executable, __file__, *sys.argv[1:]], env=environment, check=False
        ).returncode


def _record(groups: list[str]) -> None:
    import locked

    for group in groups or locked.PORTABLE:
        record = locked.read_record(group)
        with locked.new_laboratory() as folder:
            for case in record:
                ran, files, _ = locked.run_case(case, folder)
                record[case] = locked.portable(case, ran, files)
        locked.write_record(group, record)
        print(f"{group}: {len(record)} command lines")


if __name__ == "__main__":
    sys.exit(main())
