"""The HTTP application of charrnn serve: the page of a model, and completions as OpenAI's clients
ask for them.

No request names a file. Lengths, the number of texts and the size of a request are limited.
"""

import asyncio
import json
import reprlib
import secrets
import threading
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from charrnn.api import Model
from charrnn.errors import CharRNNError, UsageError
from charrnn.formats.model_page.page import to_model_page
from charrnn.generation.generator import fresh_seed
from charrnn.generation.sample_options import SampleOptions
from charrnn.generation.writing import Piece

MAX_BODY = 1_000_000
"""Bytes of a request at most."""
MAX_CHARS = 50_000
"""Characters of all prompts and texts of a request together, at most."""
DEFAULT_CHARS = 200
"""Characters of a text where the request gives no number."""
MAX_STOP = 100
"""Characters of a stop string at most: so many are held back."""
BODY_SECONDS = 30
"""Time in which the body of a request must have arrived."""
MAX_TEXTS = 128
"""Texts of a request at most: prompts times n."""
CHUNK_SECONDS = 0.03
"""Time for which characters are collected for one event of a stream."""
USER = "charrnn"
"""The name that a browser gives with the token as the password."""


_Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP)]
_AsList = BeforeValidator(lambda value: [value] if isinstance(value, str) else value)


class CompletionRequest(BaseModel):
    """The body of POST /v1/completions; `max_tokens` counts characters. `unknown` and `min_p` are
    as in `sample`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: Annotated[list[str], _AsList] = Field([""], min_length=1)
    max_tokens: int | None = Field(None, ge=0, le=MAX_CHARS)
    n: int | None = Field(None, ge=1, le=MAX_TEXTS)
    seed: int | None = None
    stop: Annotated[list[_Stop] | None, _AsList] = Field(None, max_length=16)
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

    def texts(self) -> "list[Text]":
        """Return the texts: n for each prompt, with seeds of their own. Raises UsageError."""
        length, count = DEFAULT_CHARS if self.max_tokens is None else self.max_tokens, self.n or 1
        num_texts = count * len(self.prompt)
        if (
            num_texts > MAX_TEXTS
            or num_texts * length + count * sum(map(len, self.prompt)) > MAX_CHARS
        ):
            raise UsageError(
                f"n is {count} and max_tokens {length} for {len(self.prompt)} prompt(s); there may"
                f" be {MAX_TEXTS} texts, which have at most {MAX_CHARS:,} characters together, with"
                " the prompts."
            )
        given = self.model_dump(
            include={"temperature", "top_p", "top_k", "min_p", "unknown"}, exclude_none=True
        )
        seed = fresh_seed() if self.seed is None else self.seed
        options = SampleOptions(length=length, seed=seed, stops=self.stop or (), **given)
        return [
            Text(
                replace(options, prime=prompt, seed=seed + (index << 32)),
                len(prompt) if self.echo else 0,
            )
            for index, prompt in enumerate(prompt for prompt in self.prompt for _ in range(count))
        ]


@dataclass
class Text:
    """A text that is drawn."""

    options: SampleOptions
    num_chars: int
    """Characters that were sent; those of a prompt that is repeated are counted from the beginning.
    """
    num_drawn: int = 0
    is_document: bool = False
    is_cut: bool = False
    """Whether it is a document that ended before its END."""

    def start(self, model: Model) -> Iterator[Piece]:
        """Read the prompt, and return an iterator over the text. Raises DataError for unknown
        characters."""
        options, self.is_document = self.options, model.config.end_id is not None
        model.generator.known_text(options.prime, options.unknown, what="prompt")
        return model.generator.stream(
            replace(options, on_cut=lambda: setattr(self, "is_cut", True))
        )

    def choice(
        self, asked: CompletionRequest, index: int, pieces: list[Piece], *, is_last: bool
    ) -> dict[str, Any]:
        """Return the next pieces as OpenAI's API does; `index` is that of the text."""
        offsets = [*accumulate((len(piece.text) for piece in pieces), initial=self.num_chars)]
        begin = str(self.options.prime) if asked.echo and not self.num_drawn else ""
        self.num_chars, self.num_drawn = offsets[-1], self.num_drawn + len(pieces)
        is_cut = self.is_cut if self.is_document else self.num_drawn >= self.options.length
        logprobs = {
            "tokens": [piece.text for piece in pieces],
            "token_logprobs": [piece.logprob for piece in pieces],
            "top_logprobs": None,
            "text_offset": offsets[:-1],
        }
        return {
            "index": index,
            "text": begin + "".join(piece.text for piece in pieces),
            "logprobs": None if asked.logprobs is None else logprobs,
            "finish_reason": ("length" if is_cut else "stop") if is_last else None,
        }


@dataclass(frozen=True)
class Server:
    """Answers requests with the texts of one model; those of several requests are drawn in
    turns."""

    model: Model
    token: str | None
    """What every request must show; None: nothing."""
    is_over: Callable[[], bool] = lambda: False
    """Whether the server ends, and texts with it."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def _page(self) -> str:
        return to_model_page(self.model, self.model.found_cells)

    def app(self, hosts: Sequence[str]) -> Starlette:
        """Return the application. A request must name one of `hosts`, so that no page of another
        site reaches it."""
        routes = [
            Route("/", self.get_page),
            Route("/v1/models", self.get_models),
            Route("/v1/completions", self.post_completions, methods=["POST"]),
            Route("/v1/{other:path}", self.refuse_other, methods=["GET", "POST"]),
        ]
        return Starlette(
            routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)]
        )

    def _refuse_stranger(self, request: Request) -> Response | None:
        """Return the answer to a request without the token, which is a Bearer token or a browser's
        password."""
        if self.token is None:
            return None
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        expected = (
            b64encode(f"{USER}:{self.token}".encode()).decode()
            if scheme.lower() == "basic"
            else self.token
        )
        if secrets.compare_digest(shown.strip().encode(), expected.encode()):
            return None
        return _refuse(
            "This server needs its token.", 401, {"WWW-Authenticate": 'Basic realm="charrnn"'}
        )

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
        return self._refuse_stranger(request) or _answer({"object": "list", "data": [model]})

    async def refuse_other(self, request: Request) -> Response:
        """Answer a request for anything else of OpenAI's API, such as /v1/chat/completions."""
        here = f"There is no {request.method} {reprlib.repr(request.url.path)[1:-1]}."
        refusal = _refuse(
            f"{here} A character model continues text: use POST /v1/completions with a prompt.", 404
        )
        return self._refuse_stranger(request) or refusal

    async def post_completions(self, request: Request) -> Response:
        """Answer POST /v1/completions: with JSON, or with a stream of server-sent events."""
        if refusal := self._refuse_stranger(request):
            return refusal
        if (
            request.headers.get("content-type", "").partition(";")[0].strip().lower()
            != "application/json"
        ):
            return _refuse("The content type must be application/json.", 415)
        try:
            body = await asyncio.wait_for(_read_body(request), BODY_SECONDS)
        except asyncio.TimeoutError:  # the built-in one since Python 3.11
            return _refuse(f"The request did not arrive in {BODY_SECONDS} seconds.", 408)
        if len(body) > MAX_BODY:
            return _refuse(f"A request may have at most {MAX_BODY:,} bytes.", 413)
        try:
            asked = CompletionRequest.model_validate_json(body)
            texts, drawn = asked.texts(), []
            # Reading the prompts finds what is wrong with them, before the first byte of an answer.
            for text in texts:
                drawn.append(await asyncio.to_thread(self._start, text))
                if self.is_over() or await request.is_disconnected():
                    return _refuse("The server ends.", 503)
        except ValidationError as error:
            problem = error.errors()[0]
            name = ".".join(map(str, problem["loc"]))[:60] or "body"
            known = ", ".join(CompletionRequest.model_fields)
            return _refuse(
                f"{name} is {reprlib.repr(problem['input'])}: {problem['msg']}. The fields are"
                f" {known}."
            )
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
            return StreamingResponse(
                self._events(asked, texts, drawn, answer), media_type="text/event-stream"
            )
        choices = []
        for index, (text, pieces) in enumerate(zip(texts, drawn, strict=True)):
            whole: list[Piece] = []
            while (
                some := await asyncio.to_thread(self._next, pieces)
            ) and not await request.is_disconnected():
                whole += some
            choices.append(text.choice(asked, index, whole, is_last=True))
        if self.is_over():
            return _refuse("The server ends.", 503)
        return _answer(answer | {"choices": choices, "usage": self._usage(asked, texts)})

    def _start(self, text: Text) -> Iterator[Piece]:
        with self.lock:
            return text.start(self.model)

    def _next(self, pieces: Iterator[Piece]) -> list[Piece]:
        """Return the characters that are drawn in `CHUNK_SECONDS`, at least one; none at the
        end."""
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
        texts: list[Text],
        drawn: list[Iterator[Piece]],
        answer: dict[str, Any],
    ) -> AsyncIterator[str]:
        for index, (text, pieces) in enumerate(zip(texts, drawn, strict=True)):
            some = None
            while some != []:
                some = await asyncio.to_thread(self._next, pieces)
                if self.is_over():  # without the event that says that all is there
                    return
                choice = text.choice(asked, index, some, is_last=not some)
                yield f"data: {json.dumps(answer | {'choices': [choice]})}\n\n"
        if (asked.stream_options or {}).get("include_usage"):
            yield f"data: {json.dumps(answer | {'usage': self._usage(asked, texts)})}\n\n"
        yield "data: [DONE]\n\n"

    def _usage(self, asked: CompletionRequest, texts: list[Text]) -> dict[str, int]:
        num_read = sum(
            len(prompt.encode() if self.model.vocab.kind == "byte" else prompt)
            for prompt in asked.prompt
        )
        num_drawn = sum(text.num_drawn for text in texts)
        return {
            "prompt_tokens": num_read,
            "completion_tokens": num_drawn,
            "total_tokens": num_read + num_drawn,
        }


async def _read_body(request: Request) -> bytes:
    """Return the body, or a part that is too long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            break
    return body


def _refuse(message: str, status: int = 400, headers: dict[str, str] | None = None) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return _answer({"error": error}, status, headers)


def _answer(
    value: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    # In ASCII: the name of a folder may have characters that UTF-8 cannot write.
    return Response(json.dumps(value), status, headers, media_type="application/json")
