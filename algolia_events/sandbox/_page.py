"""The live page: its files, the stream of what happens, and the form for faults.

Only the page's own origin is served. Whoever can make a browser on this machine open an address could otherwise read
along or break a test: by a form on a page of his own (stopped by the content type and ``Origin``), or by a name of his
own that resolves to this machine (DNS rebinding, stopped by ``Host``).
"""

import ipaddress
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from algolia_events.sandbox._attribution import QueryIds
from algolia_events.sandbox._fault_form import BadFormError, parse_order
from algolia_events.sandbox._faults import FaultScript
from algolia_events.sandbox._ledger import Ledger
from algolia_events.sandbox._rows import fault_row
from algolia_events.sandbox._tally import BATCH_SIZES, Tally
from algolia_events.sandbox._viewer import Viewer, Wanted

_FILES: Final = Path(__file__).parent / "page"
# said here, since what a system holds a .js file to be is its own affair, and browsers insist
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FRAME_S: Final = 0.25
_HEARTBEAT_S: Final = 1.0
_MAX_VIEWERS: Final = 20
_MAX_FORM_BYTES: Final = 4096
_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Page:
    """Serves the page of one sandbox, whose host name is one of those that the page may be asked for by."""

    def __init__(self, *, ledger: Ledger, query_ids: QueryIds, script: FaultScript, host: str) -> None:
        self._ledger = ledger
        self._query_ids = query_ids
        self._script = script
        self._host = host
        self._tally = Tally()
        self._viewers = 0
        ledger.broadcast.add(self._tally)

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """List the routes, none of which is one of the APIs'."""
        for name in ("page.css", "page.js", "chart.js", "icon.svg"):
            yield web.get(f"/page/{name}", self._guarded(_file(name)))
        yield web.get("/page/feed", self._guarded(self._feed))
        yield web.post("/page/faults", self._guarded(self._add_fault))
        yield web.delete("/page/faults", self._guarded(self._clear_faults))
        # the last, so that it makes no one resource with a "/" of the caller's, which goes first
        yield web.get("/", self._guarded(_file("index.html")))

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not self._is_own_host(request.host):
                return _refusal(403, "ask for the page by an IP address, by localhost or by the sandbox's own host")
            if not _is_own_origin(request):
                return _refusal(403, "only the page itself may do this")
            return await handler(request)

        return guarded

    def _is_own_host(self, host: str) -> bool:
        """Tell whether a ``Host`` is none that somebody else could have chosen: a name can resolve to this machine."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in {"localhost", self._host}:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        """Stream frames as server-sent events: at most four a second, at least one."""
        if self._viewers >= _MAX_VIEWERS:
            return _refusal(503, f"{_MAX_VIEWERS} pages are open already")
        response = web.StreamResponse(headers={**_HEADERS, "content-type": "text/event-stream"})
        viewer = Viewer(Wanted.parse(request.query))
        viewer.fill(self._ledger)
        self._viewers += 1
        try:
            await response.prepare(request)
            with self._ledger.broadcast.attached(viewer):
                while not viewer.is_over:
                    await response.write(b"data: %b\n\n" % orjson.dumps(self._frame(viewer)))
                    await viewer.wait(least=_FRAME_S, most=_HEARTBEAT_S)
        except ConnectionError:
            pass  # the page was closed
        finally:
            self._viewers -= 1
        return response

    def _frame(self, viewer: Viewer) -> dict[str, Any]:
        counts = self._ledger.counts
        return {
            "counts": {
                "requests": counts.requests,
                "accepted": counts.events,
                "attributed": counts.attributed,
                "refused": counts.rejected_events,
            },
            "kinds": self._tally.kinds,
            "seconds": self._tally.seconds(),
            "batches": [
                [first, last, count] for (first, last), count in zip(BATCH_SIZES, self._tally.batch_sizes, strict=True)
            ],
            "models": [
                [name, counts.answers, counts.clicked, counts.converted]
                for name, counts in sorted(self._query_ids.models.items())
            ],
            "faults": [fault_row(active) for active in self._script.active(now=time.monotonic())],
            **viewer.take(),
        }

    async def _add_fault(self, request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/json":
            return _refusal(415, "the form comes as application/json")
        body = await request.content.read(_MAX_FORM_BYTES + 1)
        if len(body) > _MAX_FORM_BYTES:
            return _refusal(413, "the form is too large")
        try:
            order = parse_order(orjson.loads(body))
        except (BadFormError, orjson.JSONDecodeError) as exc:
            return _refusal(422, str(exc))
        self._script.add(order.fault, now=time.monotonic(), times=order.times, seconds=order.seconds, api=order.api)
        return web.Response(status=204, headers=_HEADERS)

    async def _clear_faults(self, _: web.Request) -> web.StreamResponse:
        self._script.clear()
        return web.Response(status=204, headers=_HEADERS)


def _is_own_origin(request: web.Request) -> bool:
    """Tell whether a request is one of the page's own, or opens it. Programs that are no browsers send no origin."""
    site = request.headers.get("sec-fetch-site", "none")
    if site not in {"none", "same-origin"} and request.path != "/":
        return False
    origin = request.headers.get("origin")
    return origin is None or origin == f"{request.scheme}://{request.host}"


def _file(name: str) -> Handler:
    path = _FILES / name
    headers = {**_HEADERS, "content-type": _TYPES[path.suffix]}

    async def serve(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(path, headers=headers)

    return serve


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status, headers=_HEADERS)
