"""Close connections on which no request arrives, or of which nobody reads the answer: uvicorn waits
as long as the client likes, and a few such connections would keep everybody else out."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 5
"""Seconds in which the header of a request must arrive, from the connection or its first byte."""


READ_SECONDS = 20
"""Seconds in which a client must read on, once what was sent to it fills the memory for it."""


class Connection(H11Protocol):
    """A connection that is closed if the header of a request does not arrive in HEADER_SECONDS, or
    the client does not read for READ_SECONDS."""

    _limit: asyncio.TimerHandle | None = None
    """The timer of the header that is awaited."""
    _reading: asyncio.TimerHandle | None = None
    """The timer of a client that must read on."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._limit_waiting()

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        super().data_received(data)
        self._limit_waiting()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection open for the answer to a whole request, after which a client may have
        closed its own side."""
        # A client that is gone closes its side, too: an answer is then drawn to its end for nobody,
        # or to the first part of a stream that cannot be sent.
        if self._is_waiting() or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        return True

    def pause_writing(self) -> None:
        """Begin to wait until the client reads."""
        super().pause_writing()
        self._reading = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on, because the client has read."""
        super().resume_writing()
        self._stop_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection."""
        super().connection_lost(exc)
        self._stop_timer()
        self._stop_reading()

    def _limit_waiting(self) -> None:
        """Start the timer where a header is awaited, and stop it where none is."""
        if not self._is_waiting():
            self._stop_timer()
        elif self._limit is None:
            # A client that sends a byte from time to time does not start it anew.
            self._limit = self.loop.call_later(HEADER_SECONDS, self._close_if_waiting)

    def _is_waiting(self) -> bool:
        # A complete header begins a new cycle. Without one, the bytes belong to the next header, or
        # to a body that nobody reads, such as that of a GET.
        return self.cycle is None or self.cycle.response_complete

    def _close_if_waiting(self) -> None:
        self._limit = None
        if self._is_waiting():
            # What was sent is still read, unless the client does not.
            self.transport.close()
            self.loop.call_later(READ_SECONDS, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
