"""charrnn serve, asked by OpenAI's own client and by hand: texts, streams, limits, the token, and how it ends."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage

import pytest
from conftest import TrainedRun

import charrnn
from charrnn.apps.serve import OWN_NAMES, bind, is_loopback, serve
from charrnn.errors import UsageError

openai = pytest.importorskip("openai")
uvicorn = pytest.importorskip("uvicorn")
completions = pytest.importorskip("charrnn.apps.completions")


@dataclass(frozen=True)
class Served:
    """A server in a thread of its own."""

    address: str
    model: charrnn.Model

    def client(self, token: str = "none") -> "openai.OpenAI":
        return openai.OpenAI(base_url=f"{self.address}/v1", api_key=token, max_retries=0, timeout=60)

    def ask(self, path: str, content: bytes | None = None, **headers: str) -> tuple[int, bytes, HTTPMessage]:
        """Return the status, the content and the headers of the answer to a GET, or to a POST of a content."""
        given = {"content-type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
        connection = HTTPConnection(self.address.removeprefix("http://"), timeout=60)
        with contextlib.closing(connection):
            connection.request("GET" if content is None else "POST", path, content, given)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers

    def refusal(self, content: bytes, **headers: str) -> tuple[int, str]:
        """Return the status and the message of the answer to a request for completions."""
        status, answer, _ = self.ask("/v1/completions", content, **headers)
        return status, json.loads(answer)["error"]["message"]


def _start(model: charrnn.Model, token: str | None) -> Iterator[Served]:
    listening, name = bind("127.0.0.1:0")
    app = completions.Server(model, token).app(OWN_NAMES)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Served(f"http://{name}:{listening.getsockname()[1]}", model)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture(scope="module")
def served(lstm: TrainedRun) -> Iterator[Served]:
    yield from _start(charrnn.load(lstm.path), None)


def test_a_client_gets_the_text_of_its_seed_whole_and_in_parts(served: Served) -> None:
    options = {"prompt": "a", "max_tokens": 40, "seed": 7, "temperature": 0.8, "logprobs": 1}
    [choice] = served.client().completions.create(model="any", **options).choices
    expected = served.model.sample(prime="a", length=40, seed=7, temperature=0.8)
    assert choice.text == expected.text and choice.finish_reason == "length"
    assert choice.logprobs.token_logprobs == pytest.approx(expected.logprobs)
    assert "".join(choice.logprobs.tokens) == expected.text and all(p <= 0 for p in choice.logprobs.token_logprobs)
    usage = {"include_usage": True}
    events = list(served.client().completions.create(model="any", stream=True, stream_options=usage, **options))
    assert "".join(event.choices[0].text for event in events[:-1]) == expected.text
    assert [event.choices[0].finish_reason for event in events[-3:-1]][-1] == "length"
    assert (events[-1].usage.prompt_tokens, events[-1].usage.completion_tokens) == (1, 40)


def test_several_prompts_with_several_texts_and_a_stop(served: Served) -> None:
    expected = [text.text for text in served.model.samples(2, prime="a", length=30, seed=1)]
    answer = served.client().completions.create(model="", prompt=["a", "e"], n=2, max_tokens=30, seed=1, echo=True)
    assert [choice.text for choice in answer.choices[:2]] == ["a" + text for text in expected]
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert answer.choices[2].text.startswith("e") and answer.usage.total_tokens == 122
    stop = expected[0][9]
    [choice] = served.client().completions.create(model="", prompt="a", stop=[stop], max_tokens=30, seed=1).choices
    assert choice.text == expected[0].partition(stop)[0] and choice.finish_reason == "stop"


def test_texts_of_several_clients_at_a_time_are_those_of_one(served: Served) -> None:
    texts: dict[int, str] = {}

    def ask(seed: int) -> None:
        answer = served.client().completions.create(model="", prompt="ae"[seed % 2], max_tokens=200, seed=seed)
        texts[seed] = answer.choices[0].text

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {s: served.model.sample(prime="ae"[s % 2], length=200, seed=s).text for s in range(6)}


def test_the_page_and_the_model_are_there(served: Served) -> None:
    assert [model.id for model in served.client().models.list()] == [served.model.name]
    status, page, headers = served.ask("/")
    assert status == 200 and headers["content-type"].startswith("text/html") and b"<script" in page


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "body: Invalid JSON"),
        (b"[" * 50_000, "body: Invalid JSON"),
        (b"[1]", "body: Input should be an object"),
        (b'{"best_of": 2}', "best_of: Extra inputs are not permitted. The fields are prompt, max_tokens, n, seed"),
        (b'{"max_tokens": 2.5}', "max_tokens: Input should be a valid integer"),
        (b'{"max_tokens": 50001}', "max_tokens: Input should be less than or equal to 50000"),
        (b'{"max_tokens": 49999, "prompt": "aa"}', "at most 50,000 characters"),
        (b'{"max_tokens": 400, "n": 127}', "at most 50,000 characters"),
        (b'{"n": 0}', "n: Input should be greater than or equal to 1"),
        (b'{"prompt": []}', "prompt: List should have at least 1 item"),
        (b'{"temperature": -1}', "`temperature` is -1"),
        (b'{"temperature": NaN}', "temperature"),
        (b'{"seed": -1}', "`seed` is -1"),
        (b'{"stop": ""}', "stop.0: String should have at least 1 character"),
        (b'{"stop": ["' + b"a" * 101 + b'"]}', "at most 100 characters"),
        ('{"prompt": "\u0416"}'.encode(), "The prompt has characters that are not in the vocabulary"),
        (b'{"prompt": "\\ud800"}', "prompt"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_its_reason(served: Served, body: bytes, reason: str) -> None:
    status, message = served.refusal(body)
    assert status == 400 and reason in message


def test_requests_of_other_sites_and_large_ones_are_refused(served: Served) -> None:
    assert served.refusal(b"{}", content_type="text/plain")[0] == 415
    assert served.ask("/v1/completions", b'{"max_tokens": 1}', content_type="Application/JSON ; x=y")[0] == 200
    assert served.refusal(b" " * (completions.MAX_BODY + 1))[0] == 413
    assert served.ask("/v1/completions", b"{}", host="example.org")[0] == 400
    assert served.ask("/../config.yaml")[0] == 404


def test_a_token_is_asked_of_clients_and_browsers(lstm: TrainedRun) -> None:
    for served in _start(charrnn.load(lstm.path), "secret"):
        assert served.client("secret").completions.create(model="", prompt="a", max_tokens=3).choices[0].text
        with pytest.raises(openai.AuthenticationError, match="needs its token"):
            served.client("Secret").completions.create(model="", prompt="a", max_tokens=3)
        password = "Basic " + b64encode(b"charrnn:secret").decode()
        for path in ("/", "/v1/models"):
            assert served.ask(path)[2]["www-authenticate"].startswith("Basic")
            assert served.ask(path, authorization=password)[0] == 200


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("127.0.0.1", "it must be HOST:PORT"),
        ("127.0.0.1:http", "it must be HOST:PORT"),
        ("127.0.0.1:70000", "with a port up to 65535"),
        ("[::1:0", "it must be HOST:PORT"),
        ("é" * 70 + ":0", "it must be HOST:PORT"),
        ("192.0.2.1:0", "Cannot assign requested address"),
        ("0.0.0.0:0", "set CHARRNN_TOKEN to a token"),
    ],
)
def test_an_address_that_cannot_be_or_is_open_is_refused(
    host: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHARRNN_TOKEN", raising=False)
    with pytest.raises(UsageError, match=reason):
        serve("nowhere", host)
    assert [is_loopback(name) for name in ("127.0.0.2", "[::1]", "localhost", "0.0.0.0", "example.org")] == [
        1,
        1,
        1,
        0,
        0,
    ]
    monkeypatch.setenv("CHARRNN_TOKEN", "pé")
    with pytest.raises(UsageError, match="CHARRNN_TOKEN must be printable ASCII" if host[0] == "0" else reason):
        serve("nowhere", host)


@pytest.mark.parametrize("kind", ["byte", "documents"])
def test_bytes_and_documents_are_counted_as_they_are_drawn(
    kind: str, byte_run: TrainedRun, train_run: Callable[..., TrainedRun]
) -> None:
    run = byte_run if kind == "byte" else train_run("lines-001", steps=20, hidden_size=8, documents="lines")
    for served in _start(charrnn.load(run.path), None):
        options = {"model": "", "prompt": "a", "seed": 7, "logprobs": 1, "echo": True}
        [choice] = served.client().completions.create(max_tokens=3000, **options).choices
        expected = served.model.sample(prime="a", length=3000, seed=7)
        assert choice.text == "a" + expected.text
        assert choice.finish_reason == ("stop" if expected.has_ended else "length")
        for offset, token in zip(choice.logprobs.text_offset, choice.logprobs.tokens, strict=True):
            assert choice.text.startswith(token, offset)
        if expected.has_ended:  # END is the last one that may be drawn
            [choice] = served.client().completions.create(max_tokens=len(expected.logprobs), **options).choices
            assert choice.finish_reason == "stop"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_ends_it_during_a_request(lstm: TrainedRun) -> None:
    command = [sys.executable, "-m", "charrnn", "serve", str(lstm.path), "--host", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            client = Served(process.stdout.readline().strip(), charrnn.load(lstm.path)).client()
            with client.completions.create(model="", prompt="a", max_tokens=49_000, stream=True) as events:
                next(iter(events))
                process.send_signal(signal.SIGINT)
                assert process.wait(timeout=60) == 130
        finally:
            process.kill()
        assert process.stderr.read() == "lstm-001 is served; Ctrl-C ends it\n"
