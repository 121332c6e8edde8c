"""The command `charrnn`, also as `python -m charrnn`."""

import signal
import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        from charrnn.cli.app import run

        code = run(sys.argv[1:])
        # Python takes some time to end, too, and would answer Ctrl-C by a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:  # before the command began
        code = 130
    except Exception as error:  # what --debug lets through, or a module that cannot be imported
        from charrnn.cli.streams import describe_unexpected, print_error, print_traceback

        if "--debug" in sys.argv:
            print_traceback(error)
        else:
            print_error(describe_unexpected(error))
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()
