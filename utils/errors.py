"""The errors a user can cause and mend; the commands show them as one line without a traceback."""

import difflib


class UserError(Exception):
    """Something outside the program is wrong. The message says what, where, and what to do."""


class ConfigError(UserError):
    """A config file, an option or a name in it."""


class DataError(UserError):
    """A photo, a folder of photos or a table that describes them."""


class CheckpointError(UserError):
    """A file of weights or training state."""


def nearest(name: str, valid, limit: int = 3) -> str:
    """A hint for a mistyped name: ``"; did you mean 'focal'?"`` or the list of what is valid.

    Args:
        name: what the user wrote.
        valid: the names that would have been right.
        limit: how many near names to show.
    """
    valid = [str(v) for v in valid]
    close = difflib.get_close_matches(str(name), valid, n=limit, cutoff=0.5)
    if close:
        return "; did you mean " + " or ".join(repr(c) for c in close) + "?"
    shown = ", ".join(sorted(valid)[:20])
    return f"; valid: {shown}" + (", …" if len(valid) > 20 else "")
