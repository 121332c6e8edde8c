"""The command line: the only owner of the terminal and of exit codes."""
