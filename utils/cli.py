"""What every command does around its own work: one-line errors, exit codes, ``--debug``."""

import os
import sys
import traceback
from collections.abc import Callable

from utils.errors import UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_STOPPED = 75
"""Exit code of a run that was asked to stop and can be resumed (EX_TEMPFAIL of sysexits.h)."""


def run_command(main: Callable[[], None], debug: bool = False) -> None:
    """Call ``main`` and leave the process with the exit code its outcome deserves.

    A ``UserError`` becomes one line on stderr and exit code 2, with its traceback under ``debug``;
    Ctrl-C becomes 130. Anything else is a bug of ours and keeps its traceback.
    """
    try:
        main()
    except UserError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
