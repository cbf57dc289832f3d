"""The errors a user can meet. Each message says what, where, and how to mend it.

`main` and `predict` print the message after `error:` and exit with `exit_code`; anything that is
not a `UserError` is a defect of the program and keeps its traceback.
"""

EXIT_RESUME = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, run the same command again.


class UserError(Exception):
    """Something the user can mend. `message` is one complete answer, without a traceback."""

    exit_code = 1

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message


class ConfigError(UserError):
    """A gin file, binding or flag is wrong.

    `binding` names the configured field (`"Buckets.count"`) when there is one, so that the
    caller can add the file and line where it was written.
    """

    exit_code = 2

    def __init__(self, message: str, binding: str | None = None):
        super().__init__(message)
        self.binding = binding


class DataError(UserError):
    """A source, a split or a stored file cannot be used."""

    exit_code = 3


class RunError(UserError):
    """The run directory cannot be used: locked, of another configuration, unwritable."""

    exit_code = 4


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, or does not fit the model."""

    exit_code = 5


class DivergedError(UserError):
    """The loss is no longer a finite number."""

    exit_code = 6


class Interrupted(UserError):
    """A signal asked the run to end; it has been saved and the same command goes on."""

    exit_code = EXIT_RESUME


def did_you_mean(name: str, candidates) -> str:
    """` Did you mean 'x'?` for the nearest of `candidates`, or an empty string."""
    import difflib

    near = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
