"""Imported by Python as it starts, where this folder is on PYTHONPATH: `pytest --perturb` in subprocesses."""

import os

import perturbation

if seed := os.environ.get("TESTS_PERTURBATION"):
    perturbation.install(int(seed))
