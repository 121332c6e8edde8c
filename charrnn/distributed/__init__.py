"""Training in several processes."""

MODULES = ("charrnn.distributed.processes",)
"""The modules that declare EXTENSIONS."""
