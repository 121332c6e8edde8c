"""Start the command `charrnn`: the module that its script imports first, before the package.

Ctrl-C raises a KeyboardInterrupt wherever Python is, so that a user who presses it while modules
are imported would see the source of a library. Until a command handles its signals
(`charrnn.system.signals`), it therefore ends the process at once, as in a program in C: nothing is
written yet. The module lies outside of the package, because importing the package takes longer than
some people need for a second thought.
"""

# Not `signal`, which imports as much as the half of Python's standard library that it stands on.
import _signal  # type: ignore[import-not-found]
import sys


def end_at_interrupt() -> None:
    """Let Ctrl-C end the process without a traceback, unless somebody else handles or ignores it
    (`nohup`)."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def main() -> None:
    """Run the command line and exit with its exit code."""
    end_at_interrupt()
    from charrnn.__main__ import main as run_command_line

    run_command_line()


# `python -m charrnn` imports the package, which imports this module, before it runs anything. In
# any other program the signals are those of the program.
if sys.orig_argv[1:3] == ["-m", "charrnn"]:
    end_at_interrupt()
