"""The section of the config about test-time augmentation."""

from utils.schema_base import Section


class Tta(Section):
    """``tta``."""

    flip: bool = True
    """The mean answer to a photo and its mirror image."""
    validation: bool = False
    """Also in validation, which then takes twice as long."""
