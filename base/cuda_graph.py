"""A function that a GPU replays as one CUDA graph, instead of being handed its kernels one by one.

Launching the kernels of a training step takes the host longer than a fast GPU takes to run them:
65 ms for efficientnetv2_rw_s on an H100, whatever the batch. A graph launches them all at once. It
is a recording: the same kernels, at the same addresses, with the numbers that were current when it
was captured. So whatever changes from call to call has to lie in tensors.
"""

import contextlib
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

logger = logging.getLogger("trainer")

WARM_UP = 3
"""Eager calls before the capture, as torch recommends: libraries choose their kernels and the
optimizer makes its state meanwhile, neither of which may become part of the graph."""
WITH_GRAPHS = ("reduce-overhead", "max-autotune")
"""Modes of torch.compile that launch their kernels as CUDA graphs."""


class Graphed:
    """``function``, replayed as a CUDA graph from its fourth call on.

    Inputs of other shapes than the first ones, such as those of the odd last batch, are computed
    eagerly. So is everything where the function waits for the GPU or can't be captured; one
    warning names the operation then.

    Args:
        function: tensors, or dicts of them, on the GPU → tensors, or tuples and dicts of them. It
            may change tensors that outlive it, but nothing else that matters to the next call.
        name: what messages call it.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function = function
        self.name = name
        self.failed = False
        self._calls = 0
        self._shapes: Any = None
        self._stream: torch.cuda.Stream | None = None
        self._graph: Any = None
        self._inputs: Any = None
        self._outputs: Any = None

    def __call__(self, *inputs: Any) -> Any:
        """What ``function`` gives; of a replay copies, since the next one writes over its own."""
        shapes = [(each.shape, each.dtype) for each in tree_leaves(inputs)]
        self._shapes = self._shapes or shapes
        if self.failed or shapes != self._shapes:
            return self.function(*inputs)
        self._calls += 1
        if self._calls <= WARM_UP:
            return self._warm_up(inputs)
        self._graph = self._graph or self._capture(inputs)
        if self._graph is None:
            return self.function(*inputs)
        # A graph reads the addresses that it was captured with: new values are copied there.
        for own, given in zip(tree_leaves(self._inputs), tree_leaves(inputs), strict=True):
            own.copy_(given, non_blocking=True)
        self._graph.replay()
        return tree_map(torch.clone, self._outputs)

    def _warm_up(self, inputs: Any) -> Any:
        """An eager call on a stream of its own, as the capture will be; the last is watched."""
        here = torch.cuda.current_stream()
        self._stream = self._stream or torch.cuda.Stream()
        # The inputs may still be under way on the caller's stream; behind, the other way round.
        self._stream.wait_stream(here)
        watched: Any = _noting_waits() if self._calls == WARM_UP else contextlib.nullcontext([])
        with torch.cuda.stream(self._stream), watched as places:
            outputs = self.function(*inputs)
        here.wait_stream(self._stream)
        if places:
            self._fail(f"{places[0]} waits for the GPU")
        return outputs

    def _capture(self, inputs: Any) -> torch.cuda.CUDAGraph | None:
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        unharmed = generator.clone_state()
        self._inputs = tree_map(torch.clone, inputs)
        graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
        try:
            # Only this thread's calls count: the loader pins memory in one of its own meanwhile.
            with torch.cuda.graph(graph, pool, capture_error_mode="thread_local"):
                self._outputs = self.function(*self._inputs)
        except Exception as error:
            # A capture that fails keeps hold of the random numbers of the GPU.
            generator.graphsafe_set_state(unharmed)
            _end_capture_in_allocator(pool)
            place = traceback.extract_tb((error.__context__ or error).__traceback__)[-1]
            self._fail(f"{place.filename}:{place.lineno}, {place.line}: {error}")
            return None
        return graph

    def _fail(self, reason: str) -> None:
        self.failed = True
        self._inputs = self._outputs = None
        first_line = reason.strip().partition("\n")[0]
        logger.warning("warning: %s goes without a CUDA graph: %s", self.name, first_line)


def _end_capture_in_allocator(pool: Any) -> None:
    """What torch leaves out where a capture breaks off: until then its allocator would give back no
    memory that two streams have used, as each batch is, and the GPU would be full after an hour."""
    # Of a capture that was ended in good order, the first of these refuses to end it again.
    with contextlib.suppress(RuntimeError):
        torch.cuda.memory._cuda_endAllocateToPool(torch.cuda.current_device(), pool)
        torch.cuda.memory._cuda_releasePool(torch.cuda.current_device(), pool)


@contextlib.contextmanager
def _noting_waits() -> Iterator[list[str]]:
    """Collects the lines, ``file:number``, that make the host wait for the GPU: a capture would
    fail of them, after which little is certain."""
    places: list[str] = []
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            torch.cuda.set_sync_debug_mode(before)
    # Not the one that says that this mode is a prototype.
    waits = [each for each in noted if "called a synchronizing" in str(each.message)]
    places += [f"{each.filename}:{each.lineno}" for each in waits]
