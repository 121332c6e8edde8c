"""How long threads spin, and how many there are: as the environment, the cores and busy processes say."""

import os
from unittest.mock import Mock

import pytest

from charrnn.system.process import affinity_cores
from charrnn.system.spinning import BUSY, IDLE, are_cores_busy, choose_spins, limit_threads


@pytest.mark.skipif(affinity_cores() < 2, reason="one core has no threads that wait for each other")
def test_beside_busy_processes_more_threads_than_cores_exist_where_torch_was_imported_first(
    process,
):
    code = """
import os, threading, torch
from unittest.mock import patch
from charrnn.system import spinning
torch.ones(10_000_000).add_(1)
threads = set(os.listdir("/proc/self/task"))
for is_busy in (False, True, True):
    with patch.object(spinning, "are_cores_busy", lambda: is_busy):
        spinning.adapt_loaded_torch()
    print(len(set(os.listdir("/proc/self/task")) - threads), end=" ")
print(torch.get_num_threads())
"""
    cores = affinity_cores()
    for chosen, expected in (
        ({}, [0, cores, cores, cores]),
        ({"GOMP_SPINCOUNT": "7"}, [0, 0, 0, cores]),
    ):
        ran = process("-c", code, OMP_NUM_THREADS=str(cores), **chosen)
        # One thread rests, and has started those that it computed with.
        assert list(map(int, ran.stdout.split())) == expected


@pytest.mark.parametrize(
    "before, environment, spins",
    [
        ("", {}, {str(BUSY), str(IDLE)}),
        ("", {"GOMP_SPINCOUNT": "7"}, {"7"}),
        ("", {"OMP_WAIT_POLICY": "passive"}, {"None"}),
        ("sys.modules['torch'] = None;", {}, {"None"}),
    ],
)
def test_threads_spin_shortly_unless_the_user_chooses_or_torch_is_loaded(
    process, before, environment, spins
):
    code = f"import os, sys; {before} import charrnn; charrnn.CharRNNError; print(os.environ.get('GOMP_SPINCOUNT'))"
    ran = process("-c", code, **environment)
    assert ran.stdout.decode().strip() in spins


@pytest.mark.parametrize(
    "has_pairs, running, expected",
    [("0", 1, False), ("0", 2, True), ("1", 5, False), ("1", 6, True), ("0", "?", False)],
)
def test_cores_are_busy_when_too_few_processors_are_left(
    tmp_path, monkeypatch, has_pairs, running, expected
):
    """Of 8 processors, in pairs on 4 cores, 4 others leave one for each core."""
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert not are_cores_busy(tmp_path)  # as where there are no such files
    for name, text in {
        "sys/devices/system/cpu/smt/active": f"{has_pairs}\n",
        "proc/loadavg": f"0.10 0.20 0.30 {running}/456 789\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    assert are_cores_busy(tmp_path) is expected


@pytest.mark.parametrize("is_busy, spins", [(True, "1000"), (False, "5000")])
def test_beside_busy_processes_threads_spin_less(monkeypatch, is_busy, spins):
    monkeypatch.setattr("charrnn.system.spinning.are_cores_busy", lambda: is_busy)
    monkeypatch.setattr("charrnn.system.spinning.sys", Mock(modules={}))
    monkeypatch.setattr(os, "environ", {})
    choose_spins()
    assert os.environ == {"GOMP_SPINCOUNT": spins}


@pytest.mark.parametrize(
    "given, cores, expected",
    [({}, 2, {"OMP_NUM_THREADS": "2"}), ({}, 8, {}), ({"OMP_NUM_THREADS": "4"}, 2, {})],
)
def test_libraries_start_a_thread_for_each_core_of_a_quota(monkeypatch, given, cores, expected):
    monkeypatch.setattr("charrnn.system.spinning.num_cores", lambda: cores)
    monkeypatch.setattr("charrnn.system.spinning.affinity_cores", lambda: 8)
    monkeypatch.setattr("charrnn.system.spinning.sys", Mock(modules={}))
    monkeypatch.setattr(os, "environ", dict(given))
    limit_threads()
    assert os.environ == given | expected
