"""Where requests wait for the model: one thread asks it, and what waits together is asked together."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from fashionvl.service.serving import Serving
from fashionvl.service.settings import Settings

# What answers some requests of one kind: (what is served, what each asks, options that all share) -> one answer each.
# An answer goes out as soon as it is there, while the others are still worked at.
Asking = Callable[..., Iterable[Any]]


@dataclass(frozen=True, eq=False)
class _Waiting:
    kind: tuple[Asking, tuple[Hashable, ...]]
    what: Any
    answer: asyncio.Future


class Desk:
    """`ask` from the event loop; `swap` from any thread."""

    def __init__(self, serving: Serving, settings: Settings, seen: Callable[[int], None]):
        """seen  is told how many requests were asked together"""
        self.serving, self.settings = serving, settings
        self._seen = seen
        self._waiting: deque[_Waiting] = deque()
        self._news = asyncio.Event()
        self._model = ThreadPoolExecutor(1, "model")
        self._loop: asyncio.Task | None = None
        self._closing = False
        self._since = float("inf")  # when the model was asked what it is working at

    def swap(self, serving: Serving) -> None:
        """What is asked from now on, another one answers; what is being asked keeps the one it has."""
        self.serving = serving

    def open(self) -> None:
        """Begin to answer; within the event loop."""
        self._loop = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Stop answering once everything that waits has its answer."""
        self._closing = True
        self._news.set()
        if self._loop is not None:
            await self._loop
        self._model.shutdown()

    def is_ready(self) -> bool:
        """True while it answers, and the model is not stuck."""
        stuck = time.monotonic() - self._since > self.settings.seconds
        return self._loop is not None and not self._loop.done() and not stuck

    async def ask(self, asking: Asking, what: Any, *options: Hashable) -> Any:
        """-> what `asking` answers; waits for its turn. Raises TimeoutError, and whatever `asking` raises."""
        if self._closing:
            raise TimeoutError
        mine = _Waiting((asking, options), what, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        self._news.set()
        async with asyncio.timeout(self.settings.seconds):
            return await mine.answer

    async def _work(self) -> None:
        while True:
            await self._news.wait()
            batch = self._next()
            if batch:
                await self._answer(batch)
            elif self._closing:
                return

    def _next(self) -> list[_Waiting]:
        """The request that has waited longest, and others of its kind; nobody waits for those that took too long."""
        waiting = [one for one in self._waiting if not one.answer.done()]
        batch = [one for one in waiting if one.kind == waiting[0].kind][: self.settings.batch]
        self._waiting = deque(one for one in waiting if one not in batch)
        if not self._waiting and not self._closing:
            self._news.clear()
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        """Ask for all together; where that fails, for each alone, so that one request spoils no other's answer."""
        self._seen(len(batch))
        self._since = time.monotonic()
        loop = asyncio.get_running_loop()
        run = loop.run_in_executor(self._model, self._asked, batch, loop)
        await asyncio.wait([run])
        self._since = float("inf")
        error = run.exception()
        if error is None:
            return
        for one in batch:
            if one.answer.done():
                continue
            if len(batch) > 1:
                await self._answer([one])
            else:
                one.answer.set_exception(error)

    def _asked(self, batch: list[_Waiting], loop: asyncio.AbstractEventLoop) -> None:
        asking, options = batch[0].kind
        for one, answer in zip(batch, asking(self.serving, [one.what for one in batch], *options), strict=True):
            loop.call_soon_threadsafe(self._tell, one, answer)

    def _tell(self, one: _Waiting, answer: Any) -> None:
        self._since = time.monotonic()
        if not one.answer.done():
            one.answer.set_result(answer)
