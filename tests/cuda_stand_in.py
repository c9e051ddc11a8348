"""Two GPUs for machines without any: what is copied without blocking arrives when it is waited for.

Tensors stay on the CPU. As in CUDA, a thread begins on the first GPU, an event that is recorded
without a stream lies on the current GPU's, and whoever waits for an event waits for what its stream
was given before, and for nothing else.
"""

import contextlib
import sys
import threading
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from base.graphed_step import why_not_graphed


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


class Recording(TorchDispatchMode):
    """A CUDA graph of the CPU: the operations of a block, which leave no trace until they are
    replayed, with the numbers of then and the tensors of now. What waits for a result fails."""

    def __init__(self):
        super().__init__()
        self.operations, self.found, self.made = [], {}, {}

    def __enter__(self):
        self.random = torch.get_rng_state()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        torch.set_rng_state(self.random)
        for storage, content in self.found.values():
            storage.copy_(content)
        for storage in self.made.values():
            storage.fill_(255)  # NaN, as float

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")
        for storage in storages((args, kwargs)):
            if storage.data_ptr() not in self.found.keys() | self.made.keys():
                self.found[storage.data_ptr()] = storage, storage.clone()
        result = function(*args, **kwargs or {})
        for storage in storages(result):
            if storage.data_ptr() not in self.found:
                self.made[storage.data_ptr()] = storage
        self.operations.append((function, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self):
        for function, args, kwargs, result in self.operations:
            again = tree_leaves(function(*args, **kwargs))
            for own, new in zip(tree_leaves(result), again, strict=True):
                if isinstance(own, torch.Tensor) and own.data_ptr() != new.data_ptr():
                    own.copy_(new)


class Watching(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            level = 1  # of whoever called torch, as CUDA's warning has it
            while "/torch/" in sys._getframe(level).f_code.co_filename:
                level += 1
            warnings.warn("called a synchronizing CUDA operation", stacklevel=level + 1)
        return function(*args, **kwargs or {})


def storages(values):
    tensors = [each for each in tree_leaves(values) if isinstance(each, torch.Tensor)]
    return [each.untyped_storage() for each in tensors if each.untyped_storage().nbytes()]


class Captured(list):
    """Graphs; and ``pools``, those that the allocator still takes memory of a capture from."""

    def __init__(self):
        super().__init__()
        self.pools = set()

    def end(self, device, pool):
        if pool not in self.pools:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.pools.remove(pool)


@pytest.fixture
def graphs_on_the_cpu(monkeypatch):
    """CUDA graphs without CUDA; gives those that were captured."""

    def why_not(*made_of_and_device):
        return why_not_graphed(*made_of_and_device[:-1], torch.device("cuda"))

    @contextlib.contextmanager
    def capture(graph, pool, capture_error_mode):
        captured.pools.add(pool)
        with graph:
            yield
        captured.pools.remove(pool)  # torch does not get here where the capture breaks off
        captured.append(graph)

    def watch(mode):
        if mode == "warn":
            warnings.warn("a prototype: detects not all synchronizing operations", stacklevel=1)
            watching.append(Watching())
            watching[-1].__enter__()
        elif watching:
            watching.pop().__exit__(None, None, None)

    captured, watching = Captured(), []
    stream = SimpleNamespace(wait_stream=lambda other: None)
    generator = SimpleNamespace(clone_state=lambda: None, graphsafe_set_state=lambda state: None)
    for name, stand_in in {
        "CUDAGraph": Recording,
        "graph": capture,
        "graph_pool_handle": object,
        "memory._cuda_endAllocateToPool": captured.end,
        "memory._cuda_releasePool": lambda device, pool: None,
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
        "stream": lambda of: contextlib.nullcontext(),
        "current_device": lambda: 0,
        "default_generators": [generator],
        "get_sync_debug_mode": lambda: 0,
        "set_sync_debug_mode": watch,
    }.items():
        monkeypatch.setattr(f"torch.cuda.{name}", stand_in)
    monkeypatch.setattr("base.train_step.why_not_graphed", why_not)
    return captured
