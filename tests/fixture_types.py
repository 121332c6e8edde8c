"""Types of the fixtures `command` and `process`."""

from collections.abc import Callable
from subprocess import CompletedProcess

from conftest import Ran

Command = Callable[..., Ran]
Process = Callable[..., CompletedProcess[bytes]]
