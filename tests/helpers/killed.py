"""Kill a function before each of the changes that it makes to files."""

import os
import sys
from itertools import count


def is_killed_before(number, function):
    """Whether a function that changes files was killed before the change of this number."""
    child = os.fork()
    if child == 0:
        changes = count()

        def hook(event, _):
            is_change = event in ("open", "os.mkdir", "os.remove", "os.rename", "os.rmdir")
            if is_change and next(changes) == number:
                os._exit(9)

        code = 1
        try:
            sys.addaudithook(hook)
            function()
            code = 0
        finally:  # The child never returns to the tests.
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9)
    return code == 9
