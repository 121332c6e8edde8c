"""Mistakes a person can mend: each carries its message, the way out and the exit code the command ends with."""


class CharRNNError(Exception):
    """Runtime failure (exit code 1). The message names the value at fault and the next step."""

    exit_code = 1


class UsageError(CharRNNError):
    """An option or a configuration value that cannot be used (exit code 2)."""

    exit_code = 2


class DataError(CharRNNError):
    """A corpus or a text that cannot be read, or not by this model (exit code 3)."""

    exit_code = 3


class CheckpointError(CharRNNError):
    """A run folder that is missing, damaged or of a newer format (exit code 4)."""

    exit_code = 4


class NonFiniteError(CharRNNError):
    """Training reached a loss or a gradient that is not finite (exit code 5)."""

    exit_code = 5


class RunInUseError(CharRNNError):
    """Another process is training in this run folder (exit code 6)."""

    exit_code = 6
