"""The section of the config about test-time augmentation."""

from typing import Annotated

from pydantic import Field

from utils.schema_base import Section


class Tta(Section):
    """``tta``."""

    flip: bool = True
    """Also every view mirrored: twice as many."""
    shifts: list[Annotated[float, Field(gt=0, lt=0.5)]] = Field([])
    """Moves, as share of the side; each gives four views: left, right, up, down."""
    scales: list[Annotated[float, Field(ge=0.5, le=2)]] = Field([])
    """Sizes relative to the photo's; each gives one view, such as 1.1 for a little nearer."""
    validation: bool = False
    """Also in validation, which then takes as many times as long as there are views."""
