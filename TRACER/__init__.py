"""TRACER: salient object detection, and crops of photos made with it."""

from TRACER.network import Tracer, TracerOutput

__all__ = ["Tracer", "TracerOutput"]
