"""How much one visitor may ask for: a fair queue, a time limit for each call, and a page with both.

Every call of a handler passes through `Page.process_api`, whatever route it came by, and every
route that `RequestFilter` (demo/security/requests.py) lets through puts its call into
`VisitorQueue`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.queueing import Event, Queue
from gradio.server_messages import EventMessage, ProcessCompletedMessage
from gradio.utils import get_upload_folder

from demo import errors
from demo.security.payloads import check_inputs
from demo.security.sweeper import Sweeper

LONG = (
    "animation",
    "maps",
    "opening",
)  # concurrency ids of the handlers that may take `long_seconds`


@dataclass(frozen=True)
class Limits:
    """Bounds of the queue and of one call.

    waiting: calls in the queue. per_address, per_session: calls of one visitor, waiting or
    running. running: of these at once, an address. unread: finished calls whose results nobody
    has fetched. seconds, long_seconds: of one call, or of one step of a handler that yields.
    stuck: calls over their time whose threads still run, before `Page.on_stuck` is called.
    """

    waiting: int = 32
    per_address: int = 12
    per_session: int = 6
    running: int = 4
    unread: int = 64
    seconds: float = 20.0
    long_seconds: float = 120.0
    stuck: int = 4


def full(limits: Limits) -> str:
    """The sentence for a call that the queue does not take."""
    return (
        f"the page is full: at most {limits.waiting} edits wait at a time, {limits.per_address} of "
        f"one address and {limits.per_session} of one page; try again in a few seconds"
    )


class VisitorQueue(Queue):
    """Gradio's queue, with a limit a visitor, served in turn.

    The next call is one of the address, and of its sessions the one, that was served longest ago.
    So a visitor waits for one call of each other visitor, however many those have sent.
    """

    def __init__(self, page: Page, limits: Limits):
        super().__init__(
            live_updates=True,
            concurrency_count=page.max_threads,
            update_intervals=1,
            max_size=limits.waiting,
            blocks=page,
            default_concurrency_limit=1,
        )
        self.limits = limits
        self.turns: OrderedDict[str, int] = OrderedDict()  # address or session -> its last turn
        self.clock = count(1)
        self.finished: deque[str] = deque()  # sessions, in the order of their results
        self.admission = asyncio.Lock()

    async def push(self, body: Any, request: Any, username: str | None) -> tuple:
        """(whether it was taken, the event's id or why not, a state that Gradio turns into HTTP)"""
        async with self.admission:
            address, session = request.scope.get("visitor", ""), body.session_hash
            calls = [e for q in self.event_queue_per_concurrency_id.values() for e in q.queue]
            own = [e for e in calls + self._running_events() if _address(e) == address]
            if len(calls) >= self.limits.waiting or len(own) >= self.limits.per_address:
                return False, errors.as_sentence(full(self.limits)), "queue_full"
            if session and sum(e.session_hash == session for e in own) >= self.limits.per_session:
                return False, errors.as_sentence(full(self.limits)), "queue_full"
            return await super().push(body, request, username)

    def get_events(self) -> tuple[list[Event], bool, str] | None:
        """([the call whose turn it is], False: no batch, its concurrency id), or None."""
        running = Counter(map(_address, self._running_events()))
        ready = [
            (self.turns.get(_address(e), 0), self.turns.get(e.session_hash, 0), i, e, q)
            for q in self.event_queue_per_concurrency_id.values()
            if q.concurrency_limit is None or q.current_concurrency < q.concurrency_limit
            for i, e in enumerate(q.queue)
            if running[_address(e)] < self.limits.running
        ]
        if not ready:
            return None
        *_, event, queue = min(ready, key=lambda entry: entry[:3])
        queue.queue.remove(event)
        for key in (_address(event), event.session_hash):
            self.turns.pop(key, None)
            self.turns[key] = next(self.clock)
        while len(self.turns) > 1000:
            self.turns.popitem(last=False)
        return [event], False, queue.concurrency_id

    def compute_analytics_summary(self, records: list) -> dict[str, Any]:
        """No summary: the page serves none, and Gradio makes a table of the last 10,000 calls for
        it after each call."""
        return self.cached_event_analytics_summary

    def send_message(self, event: Event, event_message: EventMessage) -> None:
        """Puts a message where the visitor fetches it; of results that nobody fetches, the last
        `limits.unread` stay."""
        if event.session_hash not in self.pending_messages_per_session:
            return  # its results were dropped, or the visitor has left
        super().send_message(event, event_message)
        if isinstance(event_message, ProcessCompletedMessage):
            self.finished.append(event.session_hash)
        while len(self.finished) > self.limits.unread:
            session = self.finished.popleft()
            messages = self.pending_messages_per_session.get(session)
            if messages is not None and not messages.empty() and session not in self.finished:
                del self.pending_messages_per_session[session]
                self.pending_event_ids_session.pop(session, None)

    def _running_events(self) -> list[Event]:
        return [event for job in self.active_jobs if job is not None for event in job]


def _address(event: Event) -> str:
    return event.request.scope.get("visitor", "")


class Page(gr.Blocks):
    """Blocks whose handlers all run in `VisitorQueue`, on checked files, for a bounded time.

    Whatever a handler raises becomes one sentence (demo/errors.py). Files of visits are deleted
    when they are older than `seconds` (demo/security/sweeper.py).

    Python cannot end a thread. A call that is over its time gets a sentence and gives its slot
    back; its thread goes on, is counted in `stuck` until it ends, and its result is dropped. What
    such a thread holds must be given up, too: see demo/security/lease.py. When `limits.stuck`
    threads hang at once, on_stuck is called; `restart` is meant for it.
    """

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        on_stuck: Callable[[], None] | None = None,
        seconds: float = 600,
        **options: Any,
    ):
        self.limits, self.on_stuck = limits or Limits(), on_stuck
        self.stuck: set[asyncio.Task] = set()
        self.after_start: Callable[[], None] | None = None  # called as it begins to serve
        super().__init__(**options)
        self.sweeper = Sweeper(
            Path(get_upload_folder()), seconds, self._pinned_files, self._own_files
        )

    def launch(self, *rest: Any, **options: Any) -> Any:
        """Serves the page; the log and the sweeper start here."""
        errors.set_up_log()
        self.sweeper.start()
        if self.after_start is not None:
            self.after_start()
        return super().launch(*rest, **options)

    def _pinned_files(self) -> set[str]:
        """The files that every visitor sees: values that the page starts with."""
        blocks = list(self.blocks.values())
        return set(chain.from_iterable(getattr(b, "keep_in_cache", ()) for b in blocks))

    def _own_files(self) -> set[str]:
        """The files that this process made. Gradio adds to its sets meanwhile: `set.copy` does not
        let another thread in."""
        return set(chain.from_iterable(files.copy() for files in self.temp_file_sets))

    def queue(self, **options: Any) -> Page:
        """Sets up the queue; Gradio calls it. Calls that skip the queue are refused."""
        super().queue(**options | {"api_open": False})
        self._queue = VisitorQueue(self, self.limits)
        return self

    async def preprocess_data(
        self, block_fn: BlockFunction, inputs: list[Any], *rest: Any, **named: Any
    ) -> list[Any]:
        """The inputs as a handler takes them; one sentence for a value that is none. Values at the
        end that a call of a documented endpoint leaves out are the endpoint's own."""
        if block_fn.api_visibility == "public":
            inputs = [*inputs, *(block.value for block in block_fn.inputs[len(inputs) :])]
        check_inputs(block_fn.inputs, inputs)
        try:
            return await super().preprocess_data(block_fn, inputs, *rest, **named)
        except Exception as error:  # noqa: BLE001 (components raise anything at a wrong type)
            raise errors.to_error(error, errors.WRONG_VALUES) from None

    async def process_api(self, block_fn: BlockFunction, *rest: Any, **named: Any) -> dict:
        """Runs one call, or one step of a handler that yields; a sentence where it takes too
        long."""
        if block_fn.fn is None:  # an event that runs in the browser alone
            raise errors.to_error(ValueError(errors.NO_CALL))
        long = block_fn.concurrency_id in LONG
        seconds = self.limits.long_seconds if long else self.limits.seconds
        work = asyncio.ensure_future(super().process_api(block_fn, *rest, **named))
        try:
            done, _ = await asyncio.wait({work}, timeout=seconds)
        except asyncio.CancelledError:
            work.cancel()
            raise
        if not done:
            self._abandon(work, named.get("event_id"))
            raise errors.to_error(ValueError(errors.TOO_LONG))
        try:
            return work.result()
        except gr.Error as error:
            error.print_exception = False
            raise
        except Exception as error:  # noqa: BLE001 (no visitor sees a traceback)
            raise errors.to_error(error) from None

    def _abandon(self, work: asyncio.Task, event: str | None) -> None:
        """Counts a call whose thread cannot be ended, and forgets its iterator: Gradio would wait
        a minute for it."""
        self.stuck.add(work)
        work.add_done_callback(self._end)
        self._queue.server_app.iterators.pop(event, None)
        errors.log.warning("a call is over its time; calls that hang: " + str(len(self.stuck)))
        if len(self.stuck) >= self.limits.stuck and self.on_stuck is not None:
            self.on_stuck()

    def _end(self, work: asyncio.Task) -> None:
        self.stuck.discard(work)
        if not work.cancelled():
            work.exception()  # nobody waits for it any more


def restart() -> None:
    """Replaces this program by itself, started anew: the only way to get rid of hanging threads.

    Faces in memory are lost; visitors are asked to give their picture again.
    """
    print("too many calls hang; starting anew", file=sys.stderr, flush=True)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
