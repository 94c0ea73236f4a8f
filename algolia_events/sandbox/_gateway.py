"""The way of every request: met by a fault or not, read, handled, answered, and entered into the ledger."""

import asyncio
import hashlib
import time
from collections.abc import Mapping
from typing import Final, Protocol

import attrs
from aiohttp import web

from algolia_events.sandbox._answers import Answer, json_answer, reason
from algolia_events.sandbox._credentials import Credentials, find_credentials, without_secrets
from algolia_events.sandbox._faults import (
    Api,
    Fault,
    FaultScript,
    ResetBeforeBody,
    ResetInBody,
    Status,
    is_handled,
)
from algolia_events.sandbox._insights import Call
from algolia_events.sandbox._ledger import Ledger, Request
from algolia_events.sandbox._sabotage import Delivery, reset, severed

# browsers' clients, such as search-insights, send from pages of any origin (Fetch standard, CORS protocol)
CORS: Final = {"access-control-allow-origin": "*"}
PREFLIGHT: Final = {
    **CORS,
    "access-control-allow-methods": "GET, POST, DELETE, OPTIONS",
    "access-control-allow-headers": "*",
    "access-control-max-age": "86400",
}
RECOMMEND_PREFIX: Final = "/1/indexes/"
_GRACE_S: Final = 0.1


class Handler(Protocol):
    """Handles the requests of one API."""

    def answer(self, call: Call) -> Answer:
        """Handle a request that is here in full."""
        ...

    def count_events(self, call: Call) -> int:
        """Count the events of a request that is not handled."""
        ...


def _new_digest() -> "hashlib._Hash":
    return hashlib.sha256(usedforsecurity=False)


@attrs.define
class _Body:
    """What was read of a request's body; ``data`` is dropped once it is larger than allowed."""

    data: bytearray = attrs.field(factory=bytearray)
    size: int = 0
    is_complete: bool = False
    is_too_large: bool = False
    digest: "hashlib._Hash" = attrs.field(factory=_new_digest)


@attrs.frozen(kw_only=True, eq=False)
class _Visit:
    """A request, its number in the ledger, and what it meets."""

    number: int
    request: web.Request
    api: Api
    fault: Fault | None
    headers: Mapping[str, str]
    credentials: Credentials

    def call(self, body: _Body) -> Call:
        """Give the request as the APIs take it, without the network."""
        return Call(
            number=self.number,
            method=self.request.method,
            path=self.request.rel_url.raw_path,
            headers=self.headers,
            credentials=self.credentials,
            body=None if body.is_too_large else bytes(body.data),
        )


@attrs.define(kw_only=True, eq=False)
class Gateway:
    """The HTTP side of the sandbox, for both APIs."""

    handlers: Mapping[Api, Handler]
    ledger: Ledger
    script: FaultScript
    max_body_bytes: int
    latency: float
    _closing: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _under_way: dict[int, web.Request] = attrs.field(factory=dict, init=False)
    _all_done: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one request, whatever its path; a browser's question beforehand is not counted as one."""
        if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
            return web.Response(status=204, headers=PREFLIGHT)
        visit = self._register(request)
        self._under_way[visit.number] = request
        try:
            return await self._serve(visit)
        finally:
            del self._under_way[visit.number]
            if not self._under_way:
                self._all_done.set()

    async def aclose(self) -> None:
        """End what is under way: waiting answers are given at once, hung connections are reset."""
        self._closing.set()
        await self._wait_for_all()
        for request in self._under_way.values():
            reset(request)
        await self._wait_for_all()

    def busy_connections(self) -> set[asyncio.BaseProtocol]:
        """Give the connections that have a request to answer which is here in full."""
        return {request.protocol for request in self._under_way.values() if request.content.is_eof()}

    async def pause(self, seconds: float) -> bool:
        """Wait so many seconds; True when the sandbox closes before that."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return self._closing.is_set()
        try:
            async with asyncio.timeout(seconds):
                return await self._closing.wait()
        except TimeoutError:
            return False

    async def _wait_for_all(self) -> None:
        self._all_done.clear()
        if not self._under_way:
            return
        try:
            async with asyncio.timeout(_GRACE_S):
                await self._all_done.wait()
        except TimeoutError:
            return

    async def _serve(self, visit: _Visit) -> web.StreamResponse:
        request, fault = visit.request, visit.fault
        status = None
        try:
            if isinstance(fault, ResetBeforeBody):
                reset(request)
                return severed()
            body = await self._read(request, fault)
            self.ledger.read(
                visit.number, body_bytes=body.size, complete=body.is_complete, digest=body.digest.hexdigest()
            )
            if not body.is_complete or isinstance(fault, ResetInBody):
                reset(request)
                return severed()
            answer = self._decide(visit, body)
            answer = attrs.evolve(answer, headers={**CORS, **answer.headers})
            await self.pause(self.latency)
            delivery = Delivery(request, self.pause)
            status = delivery.status_line(answer, fault)
            return await delivery.send(answer, fault)
        finally:
            self.ledger.answered(visit.number, status=status, at=time.monotonic())

    def _register(self, request: web.Request) -> _Visit:
        """Enter the request into the ledger, and see what it meets."""
        now = time.monotonic()
        path = request.rel_url.raw_path
        api: Api = "recommend" if path.startswith(RECOMMEND_PREFIX) else "insights"
        headers = {name.lower(): value for name, value in request.headers.items()}
        visit = _Visit(
            number=self.ledger.next_number(),
            request=request,
            api=api,
            fault=self.script.take(api, now=now),
            headers=headers,
            credentials=find_credentials(headers, request.rel_url.query),
        )
        self.ledger.received(
            Request(
                number=visit.number,
                api=api,
                method=request.method,
                path=path,
                headers=without_secrets(headers),
                credentials=visit.credentials.place,
                fault=visit.fault,
                received_at=now,
                received_at_wall=time.time(),
            )
        )
        return visit

    async def _read(self, request: web.Request, fault: Fault | None) -> _Body:
        """Read the body; too large a one to its end as well, so that the client is there to read the answer."""
        body = _Body()
        enough = fault.after_bytes if isinstance(fault, ResetInBody) else None
        try:
            async for chunk in request.content.iter_any():
                body.size += len(chunk)
                body.digest.update(chunk)
                if body.size >= self.max_body_bytes:
                    body.is_too_large = True
                    body.data.clear()
                else:
                    body.data += chunk
                if enough is not None and body.size >= enough:
                    return body
        except (OSError, web.RequestPayloadError):
            return body
        except RuntimeError:
            # aiohttp's word for a connection that went before its handler began: nobody told the body
            if request.transport is not None:
                raise
            return body
        body.is_complete = True
        return body

    def _decide(self, visit: _Visit, body: _Body) -> Answer:
        """Handle the request unless the fault forbids it, and give what is to be answered."""
        fault, handler, call = visit.fault, self.handlers[visit.api], visit.call(body)
        if is_handled(fault):
            answer = handler.answer(call)
        else:
            self.ledger.ignored(visit.number, events=handler.count_events(call))
            answer = Answer(200)  # stands for what nobody will see: each such fault has an end of its own
        if not isinstance(fault, Status):
            return answer
        if fault.body is not None:
            return Answer(fault.status, fault.body, fault.headers)
        return json_answer(fault.status, {"status": fault.status, "message": reason(fault.status)}, fault.headers)
