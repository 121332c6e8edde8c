"""Compiled code checks no index, so every loop runs once in a process that checks them."""

import json
import re
from pathlib import Path

import pytest
from environment import HELPERS, python_path

import charrnn

pytest.importorskip("numba", reason="numba is not installed")
SCRIPT = Path(__file__).with_name("bounded_loops.py")


def names_of_loops():
    """The functions that become compiled loops, wherever the package has them."""
    sources = [path.read_text() for path in Path(charrnn.__file__).parent.rglob("*.py")]
    names = set(re.findall(r"CompiledLoop\((\w+)[,)]", "".join(sources)))
    return names - {"loop"} | {"read", "write"}


@pytest.mark.slow
def test_no_loop_leaves_its_arrays(process, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    # Little optimization: it would take longer than the loops.
    ran = process(
        SCRIPT,
        tmp_path,
        NUMBA_BOUNDSCHECK="1",
        NUMBA_OPT="1",
        NUMBA_CACHE_DIR=str(cache),
        PYTHONPATH=python_path(HELPERS),
    )
    assert ran.returncode == 0, ran.stderr.decode()[-2_000:]
    assert set(json.loads(ran.stdout.splitlines()[-1])) == names_of_loops()
