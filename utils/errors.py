"""The errors a user can cause and mend; the commands show them as one line without a traceback."""

import difflib
import traceback
from collections.abc import Sequence


class UserError(Exception):
    """Something outside the program is wrong. The message says what, where, and what to do."""


class ConfigError(UserError):
    """A config file, an option or a name in it."""


class DataError(UserError):
    """A photo, a folder of photos or a table that describes them."""


class PhotoError(DataError):
    """A photo that cannot be read; others may."""


class TooManyPixels(PhotoError):
    """A photo that claims more than may be decoded: the message, and how many in millions."""

    def __str__(self) -> str:
        return self.args[0]


class CheckpointError(UserError):
    """A file of weights or training state."""


LONGEST_NAME = 100
"""Characters of what is compared with valid names."""


def nearest(name: str, valid, limit: int = 3) -> str:
    """A hint for a mistyped name: ``"; did you mean 'focal'?"``, at most ``limit`` names, or the
    list of what is valid, where the more likely ones stand first.
    """
    valid = [str(v) for v in valid]
    wanted = str(name).casefold()
    # difflib compares by case, and finds little alike in ADAMW and AdamW.
    of_case = [v for v in valid if v.casefold() == wanted]
    near = wanted if len(wanted) <= LONGEST_NAME else ""  # nobody mistypes so much; it took seconds
    close = of_case or difflib.get_close_matches(near and str(name), valid, n=limit, cutoff=0.5)
    if close:
        return "; did you mean " + " or ".join(repr(c) for c in close) + "?"
    return f"; valid: {first_of(valid, 20)}"


def first_of(names: Sequence[str], number: int = 3, counted: bool = False) -> str:
    """``"a, b, c, …"``: the first of many names; ``counted``: with ``(9 in all)`` behind."""
    more = f", … ({len(names)} in all)" if counted else ", …"
    return ", ".join(names[:number]) + (more if len(names) > number else "")


def reason_of(error: BaseException) -> str:
    """What an error of a library says, in one line; of an ``assert`` without words, its code."""
    line = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)  # none of an error that was never raised
    return line or (frames and frames[-1].line) or type(error).__name__


def described(error: BaseException) -> str:
    """``reason_of``, behind the class of an error that is none of ours: "ValueError: …"."""
    reason = reason_of(error)
    return reason if isinstance(error, UserError) else f"{type(error).__name__}: {reason}"
