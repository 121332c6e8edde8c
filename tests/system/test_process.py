"""What this process may use, and how it ends: cores, a limit of processor time, signals."""

import os
import re
import signal
import sys

import pytest
from environment import REPOSITORY

from charrnn.system.process import (
    ENDING_SIGNALS,
    SAVE_SIGNALS,
    affinity_cores,
    memory_bytes,
    num_cores,
)


@pytest.mark.parametrize(
    "groups, files, expected",
    [
        ("", {}, 8),
        ("0::/a/b", {"a/b/cpu.max": "max 100000"}, 8),
        ("0::/a/b", {"a/b/cpu.max": "50000 100000"}, 1),
        ("0::/a/b", {"a/b/cpu.max": "250000 100000", "a/c/cpu.max": "50000 100000"}, 3),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2),
        ("0::/a/b", {"cpu.max": "300000 100000"}, 3),  # a container that sees its own group as top
        ("0::/../b", {"b/cpu.max": "150000 100000"}, 2),
        ("0::/a", {"a/cpu.max": "9900000 100000"}, 8),
        ("0::/a", {"a/cpu.max": "nonsense"}, 8),
        ("0::/\udcff/a", {"cpu.max": "50000 100000"}, 1),  # a name that is no UTF-8
        (
            "3:memory:/m\n4:cpu,cpuacct:/a",
            {"cpu/a/cpu.cfs_quota_us": "150000", "cpu/a/cpu.cfs_period_us": "100000"},
            2,
        ),
        (
            "4:cpu,cpuacct:/a",
            {
                "cpu,cpuacct/cpu.cfs_quota_us": "10000",
                "cpu,cpuacct/cpu.cfs_period_us": "100000",
                "cpu,cpuacct/a/cpu.cfs_quota_us": "-1",
                "cpu,cpuacct/a/cpu.cfs_period_us": "100000",
            },
            1,
        ),
    ],
)
def test_cores_are_those_of_the_affinity_and_of_the_quota(
    tmp_path, monkeypatch, groups, files, expected
):
    """One for each whole or begun core of a quota, of the own group or of one above it."""
    monkeypatch.setattr("charrnn.system.process.affinity_cores", lambda: 8)
    assert num_cores(tmp_path) == 8  # as where there are no such files
    write_groups(tmp_path, groups, files)
    assert num_cores(tmp_path) == expected


@pytest.mark.parametrize(("counted", "expected"), [(6, 6), (1, 1), (None, 1)])
def test_without_an_affinity_all_cores_are_used(monkeypatch, counted, expected):
    """As on macOS and Windows."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert affinity_cores() == expected


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/a/b", {"a/memory.max": "30000000", "a/b/memory.max": "max"}, 30_000_000),
        ("0::/", {"memory.max": "20000000"}, 20_000_000),
        ("0::/../c", {"memory.max": "1" + 18 * "0"}, 50_000_000),
        ("5:memory:/a", {"memory/a/memory.limit_in_bytes": "40000000"}, 40_000_000),
        ("5:memory:/a", {"memory/a/memory.limit_in_bytes": "9223372036854771712"}, 50_000_000),
        ("5:cpu:/a", {"cpu/a/memory.limit_in_bytes": "10000000"}, 50_000_000),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no control groups")
def test_memory_is_that_of_the_machine_or_of_its_container(
    tmp_path, monkeypatch, groups, files, expected
):
    sizes = {"SC_PHYS_PAGES": 50_000, "SC_PAGE_SIZE": 1_000}
    monkeypatch.setattr("charrnn.system.process.os.sysconf", sizes.__getitem__)
    monkeypatch.setattr("charrnn.system.process.address_space_left", lambda: None)
    assert memory_bytes(tmp_path) == 50_000_000
    write_groups(tmp_path, groups, files)
    assert memory_bytes(tmp_path) == expected


def write_groups(root, groups, files):
    texts = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in {"proc/self/cgroup": groups, **texts}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.fsencode(f"{text}\n" if text else ""))


pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has neither these signals nor their timer"
)


@pytest.mark.docs
@pytest.mark.skipif(sys.platform != "linux", reason="the page has the numbers of Linux")
def test_the_page_lists_every_signal_with_its_exit_code():
    page = (REPOSITORY / "docs/look-up/reliability.md").read_text(encoding="utf-8")
    numbers = dict(re.findall(r"^\| (SIG\w+) \| (\d+|–) \|", page, re.MULTILINE))
    expected = {signal.Signals(number).name: str(128 + number) for number in ENDING_SIGNALS}
    assert numbers == expected | {signal.Signals(number).name: "–" for number in SAVE_SIGNALS}
