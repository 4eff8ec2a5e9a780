"""Feed: the next step's data are cut while the encoder is busy with this one's."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from raybrain.train.step import Loaded


class Feed:
    """Loads one step ahead, in a thread of its own, where tables lie in host memory; where they lie on the GPU, at once.

    Args:
        load: loads a step.
        device: what the data are for.
        ahead: whether to load the next step in the background.

    Attributes:
        waited_s: seconds that ``get`` has waited for data so far.
    """

    def __init__(self, load: Callable[[int], Loaded], device: torch.device, *, ahead: bool) -> None:
        self.load, self.device, self.ahead = load, device, ahead
        self.waited_s = 0.0
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="feed") if ahead else None
        self.stream: torch.cuda.Stream | None = None
        if ahead and device.type == "cuda":
            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.next: tuple[int, Future[Loaded]] | None = None

    def get(self, step: int) -> Loaded:
        """The data of a step; usually they are there already."""
        began = time.perf_counter()
        if self.thread is None:
            loaded = self.load(step)
        else:
            known, future = self.next or (-1, None)
            if future is None or known != step:
                future = self.thread.submit(self._load, step)
            loaded = future.result()
            self.next = step + 1, self.thread.submit(self._load, step + 1)
        if self.stream is not None:
            self._hand_over(loaded, torch.cuda.current_stream(self.device))
        self.waited_s += time.perf_counter() - began
        return loaded

    def close(self) -> None:
        """End the thread."""
        if self.thread is not None:
            self.thread.shutdown(wait=True, cancel_futures=True)

    def _load(self, step: int) -> Loaded:
        with torch.no_grad():
            if self.stream is None:
                return self.load(step)
            with torch.cuda.stream(self.stream):
                loaded = self.load(step)
                self.stream.synchronize()  # the thread waits for its copies, not the step
                return loaded

    def _hand_over(self, loaded: Loaded, stream: torch.cuda.Stream) -> None:
        """Tell the allocator that memory of the copying stream is used by the computing one."""
        partners = loaded.given.partner.tensors.values() if loaded.given.partner else ()
        for tensor in (loaded.aimed, *loaded.given.tensors.values(), *partners, *vars(loaded.keys).values()):
            tensor.record_stream(stream)
