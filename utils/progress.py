"""Progress bars: tqdm's, which say where they are less often where nobody watches."""

import sys
from typing import Any

from tqdm import tqdm

SECONDS = 30.0
"""Between two states of a bar that goes to a file or a pipe."""


class Progress(tqdm):
    """``tqdm``, with the same arguments.

    A terminal writes each state over the one before, a log keeps them all: ten a second make it
    grow by a megabyte every quarter of an hour. There, two a minute show that it goes on.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        stream = sys.stderr
        # A notebook has a stream of its own there, and writes over the state before, too.
        if stream is not None and not stream.isatty() and stream is sys.__stderr__:
            options = {"mininterval": SECONDS, "maxinterval": SECONDS} | options
        super().__init__(*args, **options)
