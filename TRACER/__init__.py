"""TRACER: salient object detection, and crops of photos made with it.

``load_tracer`` gives a network with weights, ``Extractor`` turns photos into crops with it.
"""

from TRACER.crops import CropSettings, Extraction
from TRACER.extractor import Extractor
from TRACER.network import Tracer, TracerOutput
from TRACER.weights import load_tracer

__all__ = [
    "CropSettings",
    "Extraction",
    "Extractor",
    "Tracer",
    "TracerOutput",
    "load_tracer",
]
