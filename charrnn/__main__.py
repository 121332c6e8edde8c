"""The command `charrnn`, also as `python -m charrnn`."""

import gc
import os
import signal
import sys

from charrnn_start import end_at_interrupt


def main() -> None:
    """Run the command line and exit with its exit code."""
    end_at_interrupt()
    # Importing torch makes 166,000 objects that stay. Looking for garbage among them takes time,
    # most of all at the end, where it is left out (benchmarks/LOG.md).
    gc.set_threshold(10_000)
    try:
        from charrnn.system.spinning import prepare_threads

        prepare_threads()
        from charrnn.cli.streams import choose_terminal
        from charrnn.commands.app import run

        choose_terminal()
        code = run(sys.argv[1:])
        # Exiting takes a moment, in which Ctrl-C would print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        gc.freeze()
    except KeyboardInterrupt:  # before the command started
        code = 130
        if sys.stderr.isatty():
            sys.stderr.write("\n")  # behind the ^C that the terminal shows
    except Exception as error:  # raised because of --debug, or an import that failed
        code = 1
        try:
            from traceback import format_exception

            from charrnn.cli.streams import describe_unexpected, print_error, printable

            if "--debug" in sys.argv:
                # Errors quote their input, which may have control characters.
                sys.stderr.write(printable("".join(format_exception(error))))
            else:
                print_error(describe_unexpected(error))
        except MemoryError:  # a message needs some, too
            os.write(2, b"error: not enough memory\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
