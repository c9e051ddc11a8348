"""Which weights of TRACER were last met under which name, kept in the folder of all caches.

Where all crops are there, no photo needs weights that would have to be got first.
"""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

from TRACER.extractor import Extractor
from TRACER.network import Tracer as Network
from TRACER.weights import weights_digest, weights_path
from utils.errors import CheckpointError, UserError
from utils.files import write_json

KNOWN_WEIGHTS = "weights.json"
"""In the folder of all caches: which weights were last met under which name."""


def full_name(weights: str) -> str:
    """A path from the root, so that it means the same file wherever the program is called."""
    path = weights_path(weights)
    return str(path.absolute()) if path == Path(weights) else weights


def known_weights(file: Path) -> dict[str, str]:
    """Name of weights → their digest, as ``remember_weights`` left it."""
    # Only a shortcut: without it the weights are fetched, which tells their digest as well.
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(known, dict):
            return {name: digest for name, digest in known.items() if isinstance(digest, str)}
    return {}


def remember_weights(extractor: Extractor, file: Path) -> None:
    """Keep the digest of an extractor's weights under their name."""
    known = known_weights(file)
    if extractor.name and known.get(extractor.name) != extractor.digest:
        with contextlib.suppress(UserError):
            write_json(file, known | {extractor.name: extractor.digest})


def load_known(load: Callable[[], Network], digest: str, file: Path) -> Network:
    """The network, which must be the one whose crops are already there."""
    network = load()
    if weights_digest(network) != digest:
        raise CheckpointError(
            f"{file}: made with other TRACER weights than those that are to crop now; delete this"
            " file, and all photos are cropped with the present ones"
        )
    return network
