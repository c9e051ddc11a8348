"""Labels as numbers: which of them are none."""

from typing import Any

from utils.errors import DataError


def require_codes(codes: Any, valid: range, what: str, missing: int | None = None) -> None:
    """Refuse codes, or other whole numbers, (N,) numpy or torch on the CPU, that are neither in
    ``valid`` nor ``missing``. As an index, -1 would silently be the last class.

    Raises:
        DataError: the first of them, named by ``what`` and its position.
    """
    wrong = (codes < valid.start) | (codes >= valid.stop)
    if missing is not None:
        wrong &= codes != missing
    if wrong.any():
        place = int(wrong.nonzero()[0][0])
        raise DataError(
            f"{what}: label {int(codes[place])} at position {place} is none of {valid.start} to"
            f" {valid.stop - 1}; correct it, or leave out photos whose label is missing"
        )
