"""Labels as numbers: which of them are none."""

from typing import Any

from utils.errors import DataError


def require_codes(codes: Any, valid: range, what: str, missing: int | None = None) -> None:
    """Refuse codes, or other whole numbers, (N,) numpy or torch, that are neither in ``valid`` nor
    ``missing``.

    As an index, -1 would silently be the last class.

    Raises:
        DataError: the first of them, named by ``what`` and its position. Codes on a GPU are refused
            by an assertion of the device, so that no training step waits for the answer.
    """
    wrong = (codes < valid.start) | (codes >= valid.stop)
    if missing is not None:
        wrong &= codes != missing
    bounds = f"{valid.start} to {valid.stop - 1}"
    if not getattr(codes, "is_cpu", True):  # numpy has no such thing
        import torch  # loaded by whoever has codes on a GPU; reading a folder does without

        torch._assert_async(~wrong.any(), f"{what}: a label outside {bounds}")
    elif wrong.any():
        place = int(wrong.nonzero()[0][0])
        raise DataError(
            f"{what}: label {int(codes[place])} at position {place} is none of {bounds};"
            " correct it, or leave out photos whose label is missing"
        )
