"""A few of many, evenly."""

import numpy as np


def spread(rows: np.ndarray, number: int) -> np.ndarray:
    """At most ``number`` of the rows, evenly over all of them."""
    # Without the end point, or of 10 rows the last would be asked for as number 10.
    places = np.linspace(0, len(rows), min(number, len(rows)), endpoint=False)
    return rows[places.astype(np.int64)]
