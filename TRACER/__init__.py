"""TRACER: salient object detection, and crops of photos made with it.

``load_tracer`` gives a network with weights, ``Extractor`` turns photos into crops with it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from TRACER.crops import Extraction
    from TRACER.extractor import Extractor
    from TRACER.network import Tracer, TracerOutput
    from TRACER.settings import CropSettings
    from TRACER.weights import load_tracer

__all__ = ["CropSettings", "Extraction", "Extractor", "Tracer", "TracerOutput", "load_tracer"]
_HOMES = {
    "CropSettings": "settings",
    "Extraction": "crops",
    "Extractor": "extractor",
    "Tracer": "network",
    "TracerOutput": "network",
    "load_tracer": "weights",
}


def __getattr__(name: str) -> Any:
    # Whoever needs the settings alone, as the config does, does not wait for torch.
    if name in _HOMES:
        return getattr(import_module(f"TRACER.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'TRACER' has no attribute {name!r}")
