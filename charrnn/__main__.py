"""The command `charrnn`, also as `python -m charrnn`."""

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    from charrnn.cli.app import run
    from charrnn.cli.terminal import print_traceback

    try:
        sys.exit(run(sys.argv[1:]))
    except Exception as error:  # what --debug lets through
        print_traceback(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
