"""Imported by Python as it starts where this folder is on PYTHONPATH: what pytest imitates reaches
subprocesses."""

import imitation

imitation.install_from_environment()
