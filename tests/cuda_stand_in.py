"""Two GPUs for machines without any: what is copied without blocking arrives when it is waited for.

Tensors stay on the CPU. As in CUDA, a thread begins on the first GPU, an event that is recorded
without a stream lies on the current GPU's, and whoever waits for an event waits for what its stream
was given before, and for nothing else.
"""

import contextlib
import threading

import pytest
import torch
from torch.overrides import TorchFunctionMode


class Stream:
    def __init__(self, number):
        self.number, self.queue, self.seconds = number, [], 0.0

    def record_event(self, event=None):
        event = event or torch.cuda.Event()
        event.record(self)
        return event


class TwoGpus(TorchFunctionMode):
    """The second one is where the tensors are."""

    def __init__(self):
        super().__init__()
        self.streams = [Stream(0), Stream(1)]
        self.here = threading.local()

    def current(self):
        return getattr(self.here, "number", 0)

    def stand_in(self, patch):
        gpus = self

        class Event:
            def __init__(self, enable_timing=False):
                self.queue, self.seconds = [], 0.0

            def record(self, stream=None):
                stream = stream or gpus.streams[gpus.current()]
                self.queue, self.seconds = stream.queue, stream.seconds

            def synchronize(self):
                while self.queue:
                    self.queue.pop(0)()

            def elapsed_time(self, later):
                return 1000 * (later.seconds - self.seconds)

        @contextlib.contextmanager
        def device(chosen):
            before, self.here.number = gpus.current(), torch.device(chosen).index
            in_main = threading.current_thread() is threading.main_thread()
            with contextlib.nullcontext() if in_main else gpus:  # a mode holds for one thread
                yield
            self.here.number = before

        def current_stream(of=None):
            return gpus.streams[gpus.current() if of is None else of.index]

        patch.setattr("torch.cuda.Event", Event)
        patch.setattr("torch.cuda.device", device)
        patch.setattr("torch.cuda.current_stream", current_stream)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        def on_cpu(value):
            gpu = isinstance(value, torch.device) and value.type == "cuda"
            return torch.device("cpu") if gpu else value

        args = [on_cpu(value) for value in args]
        kwargs = {key: on_cpu(value) for key, value in (kwargs or {}).items()}
        name = getattr(function, "__name__", "")
        if kwargs.pop("pin_memory", False) and name == "empty":
            function = torch.zeros  # so that what has not arrived is seen
        if name == "copy_" and kwargs.pop("non_blocking", False):
            self.streams[1].queue.append(lambda: function(*args, **kwargs))
            return args[0]
        return function(*args, **kwargs)


@pytest.fixture
def two_gpus(monkeypatch):
    gpus = TwoGpus()
    gpus.stand_in(monkeypatch)
    with gpus:
        yield gpus
