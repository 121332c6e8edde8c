"""The HTTP application of charrnn serve: the page of a model, and completions as OpenAI's clients ask for them.

No request names a file. Lengths, the number of texts and the size of a request are limited.
"""

import asyncio
import json
import secrets
import threading
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from charrnn.api import Model
from charrnn.apps.model_page.page import to_model_page
from charrnn.errors import CharRNNError, UsageError
from charrnn.generation.generator import fresh_seed
from charrnn.generation.options import SampleOptions
from charrnn.generation.writing import Piece

MAX_BODY = 1_000_000
"""Bytes of a request at most."""
MAX_CHARS = 50_000
"""Characters of all texts of a request together, at most."""
MAX_TEXTS = 128
"""Texts of a request at most: prompts times n."""
CHUNK_SECONDS = 0.03
"""Time for which characters are collected for one event of a stream."""
USER = "charrnn"
"""The name that a browser gives with the token as the password."""


class CompletionRequest(BaseModel):
    """The body of POST /v1/completions; `max_tokens` counts characters. `unknown` and `min_p` are as in `sample`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str | list[str] = ""
    max_tokens: int = Field(200, ge=0)
    n: int = Field(1, ge=1)
    seed: int | None = None
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    unknown: str | None = None
    logprobs: int | None = None
    echo: bool | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    model: str | None = None
    user: str | None = None

    def texts(self) -> list[SampleOptions]:
        """Return the options of each text: n for each prompt, with seeds of their own. Raises UsageError."""
        prompts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        num_texts = self.n * len(prompts)
        if not 1 <= num_texts <= MAX_TEXTS or num_texts * self.max_tokens > MAX_CHARS:
            raise UsageError(
                f"n is {self.n} and max_tokens {self.max_tokens} for {len(prompts)} prompt(s); all texts together have "
                f"at most {MAX_CHARS:,} characters, and there are 1 to {MAX_TEXTS} of them."
            )
        given = self.model_dump(include={"temperature", "top_p", "top_k", "min_p", "unknown"}, exclude_none=True)
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        seed = fresh_seed() if self.seed is None else self.seed
        options = SampleOptions(length=self.max_tokens, seed=seed, stops=stops, **given)
        return [
            replace(options, prime=prompt, seed=seed + (index << 32)) for prompt in prompts for index in range(self.n)
        ]


@dataclass(frozen=True)
class Server:
    """Answers requests with the texts of one model; those of several requests are drawn in turns."""

    model: Model
    token: str | None
    """What every request must show; None: nothing."""
    is_over: Callable[[], bool] = lambda: False
    """Whether the server ends, and texts with it."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def _page(self) -> str:
        return to_model_page(self.model, self.model.name, self.model.found_cells)

    def app(self, hosts: Sequence[str]) -> Starlette:
        """Return the application. A request must name one of `hosts`, so that no page of another site reaches it."""
        routes = [
            Route("/", self.get_page),
            Route("/v1/models", self.get_models),
            Route("/v1/completions", self.post_completions, methods=["POST"]),
        ]
        return Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)])

    def _refuse_stranger(self, request: Request) -> Response | None:
        """Return the answer to a request without the token, which is a Bearer token or a browser's password."""
        shown = request.headers.get("authorization", "").encode()
        basic = b64encode(f"{USER}:{self.token}".encode())
        accepted = (f"Bearer {self.token}".encode(), b"Basic " + basic)
        if self.token is None or any(secrets.compare_digest(shown, one) for one in accepted):
            return None
        return _refuse("This server needs its token.", 401, {"WWW-Authenticate": 'Basic realm="charrnn"'})

    async def get_page(self, request: Request) -> Response:
        """Answer GET /."""
        if refusal := self._refuse_stranger(request):
            return refusal
        try:
            return HTMLResponse(await asyncio.to_thread(lambda: self._page))
        except CharRNNError as error:
            return _refuse(error.message, 404)

    async def get_models(self, request: Request) -> Response:
        """Answer GET /v1/models."""
        model = {"id": self.model.name, "object": "model", "created": 0, "owned_by": "charrnn"}
        return self._refuse_stranger(request) or JSONResponse({"object": "list", "data": [model]})

    async def post_completions(self, request: Request) -> Response:
        """Answer POST /v1/completions: with JSON, or with a stream of server-sent events."""
        if refusal := self._refuse_stranger(request):
            return refusal
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return _refuse("The content type must be application/json.", 415)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY:
                return _refuse(f"A request may have at most {MAX_BODY:,} bytes.", 413)
        try:
            asked = CompletionRequest.model_validate_json(body)
            texts = asked.texts()
            # Reading the prompts finds what is wrong with them, before the first byte of an answer.
            drawn = [await asyncio.to_thread(self._start, options) for options in texts]
        except ValidationError as error:
            problem = error.errors()[0]
            name = ".".join(map(str, problem["loc"])) or "body"
            return _refuse(f"{name}: {problem['msg']}. The fields are {', '.join(CompletionRequest.model_fields)}.")
        except CharRNNError as error:
            return _refuse(error.message)
        answer = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": self.model.name,
            "choices": [],
        }
        if asked.stream:
            return StreamingResponse(self._events(asked, texts, drawn, answer), media_type="text/event-stream")
        choices, total = [], 0
        for index, pieces in enumerate(drawn):
            whole: list[Piece] = []
            while (some := await asyncio.to_thread(self._next, pieces)) and not await request.is_disconnected():
                whole += some
            choices.append(_choice(asked, texts, index, 0, whole, is_last=True))
            total += len(whole)
        return JSONResponse(answer | {"choices": choices, "usage": _usage(texts, total)})

    def _start(self, options: SampleOptions) -> Iterator[Piece]:
        with self.lock:
            return self.model.generator.stream(options)

    def _next(self, pieces: Iterator[Piece]) -> list[Piece]:
        """Return the characters that are drawn in `CHUNK_SECONDS`, at least one; none at the end."""
        drawn: list[Piece] = []
        end = time.monotonic() + CHUNK_SECONDS
        with self.lock:
            for piece in pieces:
                drawn.append(piece)
                if time.monotonic() > end:
                    break
        return [] if self.is_over() else drawn

    async def _events(
        self,
        asked: CompletionRequest,
        texts: list[SampleOptions],
        drawn: list[Iterator[Piece]],
        answer: dict[str, Any],
    ) -> AsyncIterator[str]:
        total = 0
        for index, pieces in enumerate(drawn):
            before = total
            while True:
                some = await asyncio.to_thread(self._next, pieces)
                choice = _choice(asked, texts, index, total - before, some, is_last=not some)
                yield f"data: {json.dumps(answer | {'choices': [choice]})}\n\n"
                total += len(some)
                if not some:
                    break
        if (asked.stream_options or {}).get("include_usage"):
            yield f"data: {json.dumps(answer | {'usage': _usage(texts, total)})}\n\n"
        yield "data: [DONE]\n\n"


def _choice(
    asked: CompletionRequest,
    texts: list[SampleOptions],
    index: int,
    num_before: int,
    pieces: list[Piece],
    *,
    is_last: bool,
) -> dict[str, Any]:
    """Return text `index`, or the part of it that follows its first `num_before` characters, as OpenAI's API does."""
    options, num_drawn = texts[index], num_before + len(pieces)
    logprobs = {
        "tokens": [piece.text for piece in pieces],
        "token_logprobs": [piece.logprob for piece in pieces],
        "top_logprobs": None,
        "text_offset": list(range(num_before, num_drawn)),
    }
    return {
        "index": index,
        "text": str(options.prime) * bool(asked.echo and not num_before) + "".join(piece.text for piece in pieces),
        "logprobs": None if asked.logprobs is None else logprobs,
        "finish_reason": None if not is_last else "length" if num_drawn >= options.length else "stop",
    }


def _usage(texts: list[SampleOptions], num_drawn: int) -> dict[str, int]:
    num_read = sum(len(prompt) for prompt in {options.prime for options in texts})
    return {"prompt_tokens": num_read, "completion_tokens": num_drawn, "total_tokens": num_read + num_drawn}


def _refuse(message: str, status: int = 400, headers: dict[str, str] | None = None) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return JSONResponse({"error": error}, status, headers)
