"""Every error a user can meet. Knows nothing else of the package.

An error says what was given and what was expected (`message`), how to fix it (`fix`) and where it stands
(`where`, usually file:line). The command line prints it on stderr and leaves with `exit_code`; it shows a
traceback only under --debug.
"""

from __future__ import annotations


def counted(count: int, singular: str, plural: str = "") -> str:
    """A number and its noun: "1 line", "1,200 lines"."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


class SeqloomError(Exception):
    """The run failed (exit code 1). Base of all errors that seqloom raises on purpose."""

    exit_code = 1

    def __init__(self, message: str, *, fix: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.where = where

    def __str__(self) -> str:
        located = f"{self.where}: {self.message}" if self.where else self.message
        return f"{located}\n  fix: {self.fix}" if self.fix else located


class UsageError(SeqloomError):
    """Bad usage: an impossible request, an existing output, a missing extra (exit code 2)."""

    exit_code = 2


class ConfigError(UsageError):
    """An unknown key, a value of the wrong type or range, or options that contradict each other."""


class DataError(UsageError):
    """Data that cannot be read; `where` is file:line."""


class RunFolderError(UsageError):
    """A run folder that is missing, incomplete, truncated, or of another format version."""


class MissingExtraError(UsageError):
    """An optional dependency is not installed; the fix is the pip line."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package '{package}', which is not installed",
                         fix=f"pip install 'seqloom[{extra}]'")


class TrainingError(SeqloomError):
    """Training could not go on: every batch non-finite, no memory for one example, no disk space."""


class Interrupted(SeqloomError):
    """Ctrl-C or SIGTERM; what was done has been saved, and the message says how to go on."""

    exit_code = 130
