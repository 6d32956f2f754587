"""Every error of ours: the bad value, what is allowed, and the fix, in one line.

`UserError` is a user's mistake: the command line prints its message without a traceback and exits with 2.
Anything else that reaches the top is our bug and keeps its traceback.
"""

from __future__ import annotations


class IlfError(Exception):
    """Base of every error this package raises on purpose."""


class UserError(IlfError, ValueError):
    """Bad input: a file, a field, a key or an option. The message names it and says what would be right."""


class ConfigError(UserError):
    """A config file or a `--set` override is wrong; the message names the key."""


class DataError(UserError):
    """A data file is wrong; the message names the file and, where there is one, the line and the field."""


class ModelError(UserError):
    """A model cannot be found, opened or used as asked (no weights, no tokenizer, prompt too long …)."""


class PromptTooLong(ModelError):
    """A prompt does not fit into the model's context with room for its answer; `prompt` is its index."""

    def __init__(self, message: str, prompt: int) -> None:
        super().__init__(message)
        self.prompt = prompt

    def __reduce__(self) -> tuple[type[PromptTooLong], tuple[str, int]]:
        return type(self), (str(self), self.prompt)  # also where it is raised in another process


class Waiting(IlfError):
    """A run waits for people: the message says how to go on. Not a failure."""


class RunFolderError(UserError):
    """A run folder belongs to another config, a newer version, or another process."""


class MissingDependency(UserError):
    """An optional library or a program of the system is missing; the message is the command to install it."""


class LeakError(UserError):
    """A task id of an evaluation split was seen in feedback or in training."""


class SandboxUnavailable(UserError):
    """No isolation is to be had on this machine; the message says what to install or enable."""


class SandboxFailure(IlfError, RuntimeError):
    """The sandbox itself failed too often for verdicts to be trusted (not a program's fault)."""


class TrainingError(UserError):
    """Examples or settings that cannot be trained on (no trainable tokens, too long, memory …)."""


class NothingLeft(DataError, TrainingError):
    """A round has nothing to ask about, refine or learn; in a later round that is the end, not a mistake."""


def missing(library: str, extra: str) -> MissingDependency:
    """The error for an optional `library` that the extra `extra` of this package brings."""
    return MissingDependency(f"{library} is not installed: pip install 'ilf[{extra}]'")


class Inexpressible(UserError):
    """A program cannot be written as the continuation of its task's prompt; the message says why.

    Who builds training data counts such programs and leaves them out.
    """


def first_line(error: BaseException) -> str:
    """Type and first line of an error's message, to quote it in one of ours."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


class Interrupted(KeyboardInterrupt):
    """Told to stop by a signal: Ctrl-C, the end of the terminal, or whoever manages this process.

    Args:
        number: of the signal; the exit status is 128 more.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
