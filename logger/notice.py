"""Tell somebody who is elsewhere that a training has ended, and how."""

import json
import os
import sys
import urllib.request

from base.base_trainer import Callback
from logger.writer import History
from utils.errors import ConfigError, reason_of

URL = "NOTIFY_URL"
"""Environment variable of the address that a message goes to. Such addresses are secrets, and a
config travels with checkpoints, reports and wandb."""
SECONDS = 10
"""That a training waits at most for the answer."""


class Notice(Callback):
    """One message at the end of a training, or where it failed or was stopped.

    Args:
        way: ``"bell"`` rings the terminal's, ``"webhook"`` posts JSON to ``NOTIFY_URL``, with the
            text under the keys that Slack, Mattermost (``text``) and Discord (``content``) read.
        run: name and id, for the message.
        monitored: the score to tell of; ``None`` for none.
    """

    name = "notice"

    def __init__(self, way: str, run: str, monitored: str | None) -> None:
        self._way = way
        self._run = run
        self._monitored = monitored
        # When it is built and not when it is due: a missing address would show after hours of
        # training.
        self._url = require_address(way)

    def on_train_end(self, history: History, best_epoch: int | None) -> None:
        score = history[best_epoch - 1].get(self._monitored or "") if best_epoch else None
        best = "" if score is None else f": {self._monitored} {score:.4f} in epoch {best_epoch}"
        self._tell(f"{self._run} has finished{best}")

    def on_exception(self, error: BaseException) -> None:
        self._tell(f"{self._run} has ended: {reason_of(error)}")

    def _tell(self, text: str) -> None:
        if self._way == "bell":
            # stderr, since stdout may be piped into a file, where no bell rings.
            print(f"\a{text}", file=sys.stderr)
            return
        request = urllib.request.Request(
            self._url,
            data=json.dumps({"text": text, "content": text}).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=SECONDS).close()


def require_address(way: str | None) -> str:
    """Where messages go; empty where none are posted.

    Raises:
        ConfigError: a webhook without a web address in ``NOTIFY_URL``.
    """
    if way != "webhook":
        return ""
    address = os.environ.get(URL, "")
    if not address.startswith(("https://", "http://")):
        raise ConfigError(
            f"trainer.notify: 'webhook' posts to the address in the environment variable {URL},"
            f" which {'holds none' if address else 'is not set'}; set it, or take 'bell'"
        )
    return address
