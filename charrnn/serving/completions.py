"""The HTTP application of charrnn serve: the page of a model, and completions for OpenAI's clients.

A request cannot name a file. The lengths and the number of texts and the size of a request are
limited.
"""

import asyncio
import contextlib
import ipaddress
import json
import re
import reprlib
import secrets
import threading
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic.fields import FieldInfo
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from charrnn.errors import CharRNNError, UsageError, did_you_mean, shortened
from charrnn.formats.model_page.page import to_model_page
from charrnn.generation.generator import fresh_seed
from charrnn.generation.sample_options import SampleOptions, Shaping
from charrnn.generation.sampling import seed_of_text
from charrnn.serving.tokens import Prompt, Token, continue_prompt, ids_of, tokenizer_info
from charrnn.trained_model import TextModel, TrainedModel

MAX_BODY = 1_000_000
"""Maximum size of a request in bytes."""
MAX_CHARS = 50_000
"""Maximum number of characters of all prompts and texts of a request together."""
DEFAULT_CHARS = 200
"""Number of characters of a text if the request gives none."""
MAX_STOPS = 16
"""Maximum number of stop strings."""
MAX_STOP = 100
"""Maximum length of a stop string: this many characters are held back."""
BODY_SECONDS = 30
"""Seconds in which the body of a request must arrive."""
MAX_TOP = 20
"""Maximum number of most likely characters that are listed for a token."""
MAX_TEXTS = 128
"""Maximum number of texts of a request: prompts times n."""
CHUNK_SECONDS = 0.03
"""Seconds during which characters are collected for one event of a stream."""
MOST_SHOWN = 60
"""Maximum number of characters of a value that a message shows."""
USER = "charrnn"
"""The user name in a browser, where the token is the password."""

_Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP)]
_AsList = BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
_AsPrompts = BeforeValidator(
    lambda value: [value] if isinstance(value, str) or _is_tokens(value) else value
)
_Zero = Annotated[float | None, Field(ge=0, le=0, description="0")]
_Switch = Annotated[bool | None, Field(description="true or false")]
_Text = Annotated[str | None, Field(description="a string")]


def _is_tokens(value: object) -> bool:
    """Whether a prompt is a list of ids, and not a list of prompts."""
    return isinstance(value, list) and value != [] and isinstance(value[0], int)


class Completion(BaseModel):
    """The body of POST /v1/completions. `max_tokens` counts characters, and `unknown` is the field
    of `SampleOptions`. The description of a field completes "it must be …" in messages."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: Annotated[list[Prompt], _AsPrompts] = Field(
        [""], min_length=1, description="a string, a list of ids, or a list of these"
    )
    max_tokens: int | None = Field(
        None, ge=0, le=MAX_CHARS, description=f"a whole number from 0 to {MAX_CHARS:,}"
    )
    n: int | None = Field(
        None, ge=1, le=MAX_TEXTS, description=f"a whole number from 1 to {MAX_TEXTS}"
    )
    seed: int | None = Field(None, description="a whole number")
    stop: Annotated[list[_Stop] | None, _AsList] = Field(
        None,
        max_length=MAX_STOPS,
        description=f"at most {MAX_STOPS} strings of 1 to {MAX_STOP} characters",
    )
    unknown: _Text = None
    logprobs: int | None = Field(
        None, ge=0, le=MAX_TOP, description=f"a whole number from 0 to {MAX_TOP}"
    )
    echo: _Switch = None
    stream: _Switch = None
    stream_options: dict[str, Any] | None = Field(None, description="an object")
    model: _Text = None
    user: _Text = None

    # A character model does not support these fields, but clients send their neutral values.
    frequency_penalty: _Zero = None
    presence_penalty: _Zero = None
    logit_bias: dict[str, float] | None = Field(None, max_length=0, description="empty")
    best_of: int | None = Field(None, ge=1, le=1, description="1")
    suffix: str | None = Field(None, max_length=0, description="empty")

    @model_validator(mode="before")
    @classmethod
    def _leave_out_neutral(cls, data: Any) -> Any:
        """Leave out values by which clients mean that a field is not given."""
        # Pydantic refuses anything but an object later.
        if not isinstance(data, dict):
            return data
        if data.get("stop") == "":
            data = data | {"stop": None}
        if data.get("top_k") in (0, -1):
            data = data | {"top_k": None}
        return data

    def texts(self) -> "list[DrawnText]":
        """Return the texts to draw: n for each prompt, each with its own seed. Raises
        UsageError."""
        # All texts are limited together: one request must not keep the model busy for minutes.
        length = DEFAULT_CHARS if self.max_tokens is None else self.max_tokens
        count = self.n or 1
        num_texts = count * len(self.prompt)
        num_chars = num_texts * length + count * sum(map(len, self.prompt))
        if num_texts > MAX_TEXTS or num_chars > MAX_CHARS:
            raise UsageError(
                f"n is {count} and max_tokens {length} for {len(self.prompt)} prompt(s); there may"
                f" be {MAX_TEXTS} texts, which have at most {MAX_CHARS:,} characters together, with"
                " the prompts."
            )

        # The options check all ranges, also those of the distribution.
        # Without a temperature it is 1, as in OpenAI's API.
        sampling_fields: dict[str, Any] = {"temperature": 1.0}
        sampling_fields |= self.model_dump(include={*_SHAPING, "unknown"}, exclude_none=True)
        seed = fresh_seed() if self.seed is None else self.seed
        options = SampleOptions(length=length, seed=seed, stops=self.stop or (), **sampling_fields)

        # The texts of a prompt follow each other, as OpenAI's API numbers them.
        texts: list[DrawnText] = []
        for prompt in self.prompt:
            for _ in range(count):
                text_seed = seed_of_text(seed, len(texts))
                texts.append(
                    DrawnText(self, prompt=prompt, options=replace(options, seed=text_seed))
                )
        return texts


_NUMBERS = {float: "a number", float | None: "a number", int | None: "a whole number"}
_SHAPING: dict[str, Any] = {
    name: (kind | None, Field(None, description=_NUMBERS[kind]))
    for name, kind in get_type_hints(Shaping).items()
}
"""The optional fields of the distribution."""
CompletionRequest: type[Completion] = create_model(
    "CompletionRequest", __base__=Completion, **_SHAPING
)
"""A `Completion` with the fields of `Shaping`."""


class Tokenize(BaseModel):
    """The body of POST /tokenize; other fields that clients send are ignored."""

    prompt: str = Field(description="a string")


class Detokenize(BaseModel):
    """The body of POST /detokenize."""

    tokens: list[int] = Field(description="a list of ids")


_Body = TypeVar("_Body", bound=BaseModel)
Answer = Callable[[Request], Awaitable[Response]]
"""Answers the requests of a route."""


@dataclass
class DrawnText:
    """A text that is drawn for a request."""

    asked: Completion
    prompt: Prompt
    options: SampleOptions
    num_sent: int = 0
    """Number of characters that were sent, including an echoed prompt."""
    num_read: int = 0
    """Number of tokens of the prompt."""
    num_tokens: int = 0
    """Number of tokens that were sent."""
    is_document: bool = False
    is_cut: bool = False
    """Whether it is a document that was cut before its END."""

    def start(self, model: TextModel) -> Iterator[Token]:
        """Read the prompt, and return an iterator over the tokens. Raises DataError for unknown
        characters, UsageError for an id outside the alphabet."""

        def on_cut() -> None:
            self.is_cut = True

        # A prompt of ids may contain the unknown symbol, because the client has chosen its id.
        self.is_document = model.config.end_id is not None
        prompt = self.prompt
        if isinstance(prompt, str):
            known = model.generator.known_text(prompt, unknown=self.options.unknown, what="prompt")
            assert isinstance(known, str), "a str stays one"
            prompt = known
        ids = ids_of(model.vocab, prompt=prompt, name=model.name)
        self.num_read = len(ids)
        return continue_prompt(
            model.generator,
            prompt=ids,
            options=replace(self.options, on_cut=on_cut),
            is_echoed=bool(self.asked.echo),
            num_top=self.asked.logprobs,
        )

    def choice(self, index: int, tokens: list[Token], *, is_last: bool) -> dict[str, Any]:
        """Return the next tokens in the format of OpenAI's API; `index` is the number of the
        text."""
        # The offset of each token counts over all events of a stream.
        offsets = []
        for token in tokens:
            offsets.append(self.num_sent)
            self.num_sent += len(token.text)
        self.num_tokens += len(tokens)

        logprobs = None
        if self.asked.logprobs is not None:
            logprobs = {
                "tokens": [token.text for token in tokens],
                "token_logprobs": [token.logprob for token in tokens],
                "top_logprobs": [token.top for token in tokens],
                "text_offset": offsets,
            }
        return {
            "index": index,
            "text": "".join(token.text for token in tokens),
            "logprobs": logprobs,
            "finish_reason": self._finish_reason() if is_last else None,
        }

    @property
    def num_drawn(self) -> int:
        """Number of tokens that were drawn and sent."""
        if self.asked.echo:
            return self.num_tokens - self.num_read
        return self.num_tokens

    def _finish_reason(self) -> str:
        # A document may end by itself after exactly `length` characters, so `is_cut` decides.
        is_cut = self.num_drawn >= self.options.length
        if self.is_document:
            is_cut = self.is_cut
        return "length" if is_cut else "stop"


@dataclass(frozen=True)
class Server:
    """Answer requests with the texts of one model. The texts of several requests are drawn in
    turns."""

    model: TrainedModel
    token: str | None
    """The token that every request must contain; None if requests need none."""
    is_over: Callable[[], bool] = lambda: False
    """Whether the server is ending, and texts must end, too."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def _page(self) -> str:
        return to_model_page(self.model, self.model.found_cells)

    @cached_property
    def app(self) -> Starlette:
        """The application."""

        # Here, so that no route can forget the check.
        def route(path: str, answer: Answer, *methods: str) -> Route:
            async def checked(request: Request) -> Response:
                self._check(request)
                return await answer(request)

            return Route(path, checked, methods=methods)

        routes = [
            route("/", self.get_page, "GET"),
            route("/v1/models", self.get_models, "GET"),
            route("/v1/models/{name}", self.get_model, "GET"),
            route("/v1/completions", self.post_completions, "POST"),
            route("/tokenizer_info", self.get_tokenizer_info, "GET"),
            route("/tokenize", self.post_tokenize, "POST"),
            route("/detokenize", self.post_detokenize, "POST"),
            route("/{other:path}", self.refuse_other, "GET", "POST"),
        ]
        return Starlette(
            routes=routes,
            exception_handlers={HTTPException: _answer_refusal, CharRNNError: _answer_error},
        )

    def _check(self, request: Request) -> None:
        """Refuse a request without the token, which is a Bearer token or a browser's password. If
        the server has no token, refuse a request for another host than this machine."""
        if self.token is None:
            _check_host(request.headers.get("host", ""))
            return
        scheme, _, given_token = request.headers.get("authorization", "").partition(" ")
        expected = self.token
        if scheme.lower() == "basic":
            expected = b64encode(f"{USER}:{self.token}".encode()).decode()

        # The comparison takes the same time whatever part of the token is right. The challenge
        # makes a browser ask for the token.
        if not secrets.compare_digest(given_token.strip().encode(), expected.encode()):
            challenge = {"WWW-Authenticate": 'Basic realm="charrnn"'}
            raise HTTPException(401, "This server needs its token.", headers=challenge)

    async def get_page(self, request: Request) -> Response:
        """Answer GET /."""
        try:
            return HTMLResponse(await asyncio.to_thread(lambda: self._page))
        except CharRNNError as error:
            raise HTTPException(404, error.message) from error

    async def get_models(self, request: Request) -> Response:
        """Answer GET /v1/models."""
        return _answer({"object": "list", "data": [self._described()]})

    async def get_model(self, request: Request) -> Response:
        """Answer GET /v1/models/NAME, by which some clients check whether a model exists."""
        if request.path_params["name"] != self.model.name:
            return await self.refuse_other(request)
        return _answer(self._described())

    def _described(self) -> dict[str, Any]:
        return {
            "id": self.model.name,
            "object": "model",
            "created": 0,
            "owned_by": "charrnn",
        }

    async def get_tokenizer_info(self, request: Request) -> Response:
        """Answer GET /tokenizer_info, by which lm-evaluation-harness finds the next two routes."""
        return _answer(tokenizer_info(self.model.vocab, self.model.config.end_id))

    async def post_tokenize(self, request: Request) -> Response:
        """Answer POST /tokenize: the ids of a text, as vLLM's server does."""
        asked = await _read(request, kind=Tokenize)
        ids = ids_of(self.model.vocab, prompt=asked.prompt, name=self.model.name).tolist()
        return _answer({"tokens": ids, "count": len(ids), "max_model_len": MAX_CHARS})

    async def post_detokenize(self, request: Request) -> Response:
        """Answer POST /detokenize: the text of ids."""
        asked = await _read(request, kind=Detokenize)
        ids = ids_of(self.model.vocab, prompt=asked.tokens, name=self.model.name)
        return _answer({"prompt": self.model.vocab.decode(ids)})

    async def refuse_other(self, request: Request) -> Response:
        """Answer a request for any other route, such as /v1/chat/completions."""
        raise HTTPException(
            404,
            f"There is no {request.method} {reprlib.repr(request.url.path)[1:-1]}. A character"
            " model continues text: use POST /v1/completions with a prompt.",
        )

    async def post_completions(self, request: Request) -> Response:
        """Answer POST /v1/completions: with JSON, or with a stream of server-sent events."""
        asked = await _read(request, kind=CompletionRequest)

        # Reading the prompts finds what is wrong with them, before the first byte of an answer. In
        # threads, so that other requests are answered meanwhile.
        texts = asked.texts()
        drawn = []
        for text in texts:
            drawn.append(await asyncio.to_thread(self._start, text))
            if self.is_over() or await request.is_disconnected():
                raise HTTPException(503, "The server ends.")

        answer = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": self.model.name,
            "choices": [],
        }
        if asked.stream:
            events = self._events(asked, texts=texts, drawn=drawn, answer=answer)
            return StreamingResponse(events, media_type="text/event-stream")

        # Drawn in parts, too, so that the texts of other requests have their turns, and nothing is
        # drawn for a client that has gone.
        choices = []
        for index, (text, pieces) in enumerate(zip(texts, drawn, strict=True)):
            whole: list[Token] = []
            some = await asyncio.to_thread(self._next, pieces)
            while some and not await request.is_disconnected():
                whole += some
                some = await asyncio.to_thread(self._next, pieces)
            choices.append(text.choice(index, tokens=whole, is_last=True))

        # The texts are cut then, and must not look complete.
        if self.is_over():
            raise HTTPException(503, "The server ends.")
        return _answer(answer | {"choices": choices, "usage": self._usage(asked, texts)})

    def _start(self, text: DrawnText) -> Iterator[Token]:
        with self.lock:
            return text.start(self.model)

    def _next(self, pieces: Iterator[Token]) -> list[Token]:
        """Return the tokens that are drawn in `CHUNK_SECONDS`, at least one; none at the end."""
        # The threads of all requests share one model, so only one of them draws at a time. After
        # each chunk another thread has its turn.
        drawn: list[Token] = []
        end = time.monotonic() + CHUNK_SECONDS
        with self.lock:
            for piece in pieces:
                drawn.append(piece)
                if time.monotonic() > end:
                    break
        if self.is_over():
            return []
        return drawn

    async def _events(
        self,
        asked: Completion,
        texts: list[DrawnText],
        drawn: list[Iterator[Token]],
        answer: dict[str, Any],
    ) -> AsyncIterator[str]:
        """Yield the events of a stream: the pieces of each text, the usage, and the end."""
        for index, (text, pieces) in enumerate(zip(texts, drawn, strict=True)):
            is_last = False
            while not is_last:
                some = await asyncio.to_thread(self._next, pieces)
                if self.is_over():  # Without the last event, the text does not look complete.
                    return
                is_last = not some
                choice = text.choice(index, tokens=some, is_last=is_last)
                yield f"data: {json.dumps(answer | {'choices': [choice]})}\n\n"

        # The usage is a separate event without a choice, if the client has asked for it.
        if (asked.stream_options or {}).get("include_usage"):
            yield f"data: {json.dumps(answer | {'usage': self._usage(asked, texts)})}\n\n"
        yield "data: [DONE]\n\n"

    def _usage(self, asked: Completion, texts: list[DrawnText]) -> dict[str, int]:
        # The prompt of n texts, which follow each other, counts once.
        num_read = sum(text.num_read for text in texts[:: asked.n or 1])
        num_drawn = sum(text.num_drawn for text in texts)
        return {
            "prompt_tokens": num_read,
            "completion_tokens": num_drawn,
            "total_tokens": num_read + num_drawn,
        }


def is_loopback(host: str) -> bool:
    """Whether an address or a name can be reached only from this machine."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == "localhost"


def _check_host(host: str) -> None:
    """Refuse a request for a host that is not this machine: another site may let its own name point
    to this machine (DNS rebinding)."""
    name = re.sub(r":\d*$", "", host).strip("[]")
    if not is_loopback(name):
        raise HTTPException(
            400,
            f"The request is for the host {reprlib.repr(host)}. Without a token this server answers"
            " to 127.0.0.1, localhost and [::1] only: use one of these in the address, or start it"
            " with a token in CHARRNN_TOKEN.",
        )


async def _read_body(request: Request) -> bytes:
    """Return the body of a request. Refuses a body that is not JSON, is too long or does not
    arrive."""
    # A form on another site cannot send this content type without asking the server first.
    media_type, *_ = request.headers.get("content-type", "").split(";")
    if media_type.strip().lower() != "application/json":
        raise HTTPException(415, "The content type must be application/json.")

    # The bytes are counted as they arrive: a client may send more than it has announced.
    async def read() -> bytes:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise HTTPException(413, f"A request may have at most {MAX_BODY:,} bytes.")
        return body

    try:
        return await asyncio.wait_for(read(), BODY_SECONDS)
    except asyncio.TimeoutError as error:  # since Python 3.11 the built-in TimeoutError
        problem = f"The request did not arrive in {BODY_SECONDS} seconds."
        raise HTTPException(408, problem) from error


async def _read(request: Request, kind: type[_Body]) -> _Body:
    """Read and parse the body of a request. Refuses a body with a wrong or an unknown field."""
    try:
        return kind.model_validate_json(await _read_body(request))
    except ValidationError as error:
        # Only the first problem is described; its value may be as long as the body.
        problem = error.errors()[0]
        raise HTTPException(400, _describe(problem, kind.model_fields)) from error


def _describe(problem: Any, fields: Mapping[str, FieldInfo]) -> str:
    """Describe a problem in a body with these fields: the field, its allowed values and its given
    value."""
    if problem["type"] == "json_invalid":
        return f"The body is not JSON: {problem['ctx']['error']}."
    given = shortened(json.dumps(problem["input"], default=str), MOST_SHOWN)
    if not problem["loc"]:
        return f"The body must be a JSON object, not {given}."

    # The other entries of "loc" are parts of the value and types of Python.
    name = str(problem["loc"][0])
    if name not in fields:
        short_name = shortened(name, MOST_SHOWN)
        return f"There is no field {short_name}.{did_you_mean(name, fields)} Leave it out."
    wanted = fields[name].description
    if problem["type"] == "missing":
        return f"{name} is missing; it must be {wanted}."
    return f"{name} must be {wanted}, not {given}."


def _answer_refusal(request: Request, error: Any) -> Response:
    """Answer an HTTPException in the format of OpenAI's API."""
    details = {
        "message": error.detail,
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    return _answer({"error": details}, status=error.status_code, headers=error.headers)


def _answer_error(request: Request, error: Any) -> Response:
    """Answer a CharRNNError: this model cannot do what the request asks for."""
    return _answer_refusal(request, HTTPException(400, error.message))


def _answer(value: dict[str, Any], status: int = 200, headers: Any = None) -> Response:
    # The JSON is in ASCII: the name of a folder may have characters that UTF-8 cannot encode.
    return Response(
        json.dumps(value), status_code=status, headers=headers, media_type="application/json"
    )
