"""How long threads spin, and how many there are: as the environment, the cores and busy processes say."""

import os
from unittest.mock import Mock

import pytest

from charrnn.system.spinning import BUSY, IDLE, limit_blas, limit_threads


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


@pytest.mark.parametrize(
    "given, is_busy, loaded, expected",
    [
        ({}, True, {}, {"OPENBLAS_NUM_THREADS": "1"}),
        ({}, False, {}, {}),
        ({}, True, {"numpy": None}, {}),
        ({"OPENBLAS_NUM_THREADS": "2"}, True, {}, {}),
        ({"OMP_NUM_THREADS": "2"}, True, {}, {}),
    ],
)
def test_numpy_computes_on_one_thread_beside_busy_processes(
    monkeypatch, given, is_busy, loaded, expected
):
    monkeypatch.setattr("charrnn.system.spinning.are_cores_busy", lambda: is_busy)
    monkeypatch.setattr("charrnn.system.spinning.sys", Mock(modules=loaded))
    monkeypatch.setattr(os, "environ", dict(given))
    limit_blas()
    assert os.environ == given | expected
