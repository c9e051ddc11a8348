"""How photos are cropped: what ``Extractor`` takes, and the config section ``tracer`` has in it."""

from typing import Annotated, Literal

from pydantic import Field

from utils.schema_base import Natural, Positive, Section, Share

DEFAULT_SIZE = 224


class CropSettings(Section):
    """How a crop is cut, and by how many hands."""

    crop_size: Annotated[int, Field(ge=1, le=2048)] | None = None
    """Side of the stored crop in pixels; `null` takes `data_loader.args.input_size`."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Saliency from which a pixel belongs to the person."""
    margin: Share = 0.05
    """Room around the person's box, as share of its longer side."""
    background: Literal["black", "keep"] = "black"
    """What becomes of the pixels around the person."""
    region: Literal["person", "head", "face"] = "person"
    """Crop to the whole person, the head, or the face alone: more pixels for the face."""
    batch_size: Positive | None = None
    """Photos that go through TRACER at once; `null` suits the device."""
    num_workers: Natural | None = None
    """Threads that decode photos; `null` takes what the cores allow."""

    @property
    def size(self) -> int:
        """Side of the crop, px, where no model says another."""
        return self.crop_size or DEFAULT_SIZE
