"""charrnn serve, asked by OpenAI's own client and by hand: texts, streams, limits, the token, and
how it ends.

Tests `serving.completions`, `serving.connections` and `serving.tokens`,
too.
"""

import asyncio
import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from http.client import HTTPConnection
from unittest.mock import Mock

import pytest

import charrnn
from charrnn.errors import UsageError
from charrnn.generation.sample_options import Shaping
from charrnn.serving.serve import MAX_CONNECTIONS, ServeOptions, bind, configure, serve

uvicorn = pytest.importorskip("uvicorn")
completions = pytest.importorskip("charrnn.serving.completions")


PROMPT = b'{"prompt": "a", "max_tokens": 300}'
COMPLETION = (
    b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: %s\r\n\r\n%s"
)
"""A request by hand, of its length and its content."""


@dataclass(frozen=True)
class Served:
    """A server in a thread of its own."""

    address: str
    model: charrnn.Model

    def complete(self, token="none", prompt="a", **options):
        client = pytest.importorskip("openai").OpenAI(
            base_url=f"{self.address}/v1", api_key=token, max_retries=0, timeout=600
        )
        assert [model.id for model in client.models.list()] == [self.model.name]
        return client.completions.create(model="any", prompt=prompt, **options)

    def choices(self, *, stream=False, **options):
        """Return the choices of an answer, or those of all events of a stream."""
        answer = self.complete(stream=stream, **options)
        if not stream:
            return list(answer.choices)
        return [event.choices[0] for event in answer]

    def ask(self, path, content=None, **headers):
        """Return the status, the content and the headers of the answer to a GET, or to a POST."""
        given = {"content-type": "application/json"} | {
            name.replace("_", "-"): text for name, text in headers.items()
        }
        connection = HTTPConnection(self.address.removeprefix("http://"), timeout=600)
        with contextlib.closing(connection):
            connection.request("GET" if content is None else "POST", path, content, given)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers

    def refused(self, path, content=None, status=400, **headers):
        """Return the message of an error."""
        found, answer, _ = self.ask(path, content, **headers)
        assert found == status
        return json.loads(answer)["error"]["message"]

    def text_of(self, **asked):
        """Return the text that the server writes for a request by hand."""
        status, answer, _ = self.ask("/v1/completions", json.dumps(asked).encode())
        assert status == 200
        [choice] = json.loads(answer)["choices"]
        return choice["text"]


def _start(model, token):
    listening = bind("127.0.0.1", 0)
    app = completions.Server(model, token).app
    server = uvicorn.Server(configure(app, "error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", model)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture(scope="module")
def served(lstm):
    yield from _start(charrnn.load(lstm.path), None)


def test_a_client_gets_the_text_of_its_seed_whole_and_in_parts(served):
    options = {"prompt": "a", "max_tokens": 40, "seed": 7, "temperature": 0.8, "logprobs": 1}
    [choice] = served.complete(**options).choices
    expected = served.model.sample(prime="a", length=40, seed=7, temperature=0.8)
    assert choice.text == expected.text
    assert choice.finish_reason == "length"
    assert choice.logprobs.token_logprobs == pytest.approx(
        _logprobs(served.model, choice.text, context="a"), abs=1e-4
    )
    assert "".join(choice.logprobs.tokens) == expected.text
    events = list(served.complete(stream=True, stream_options={"include_usage": True}, **options))
    assert "".join(event.choices[0].text for event in events[:-1]) == expected.text
    assert [event.choices[0].finish_reason for event in events[-3:-1]][-1] == "length"
    assert (events[-1].usage.prompt_tokens, events[-1].usage.completion_tokens) == (1, 40)


def test_several_prompts_with_several_texts_and_a_stop(served):
    expected = [
        text.text for text in served.model.samples(2, prime="a", length=30, temperature=1, seed=1)
    ]
    answer = served.complete(prompt=["a", "e"], n=2, max_tokens=30, seed=1, echo=True)
    assert [choice.text for choice in answer.choices[:2]] == ["a" + text for text in expected]
    assert answer.choices[2].index == 2
    assert answer.choices[2].text.startswith("e")
    assert answer.usage.total_tokens == 122


@pytest.mark.parametrize("is_echoed", [False, True])
def test_without_a_prompt_a_text_begins_as_texts_begin(served, is_echoed):
    expected = served.model.sample(length=30, temperature=1, seed=1).text
    options = {"max_tokens": 30, "seed": 1, "logprobs": 1, "echo": is_echoed}
    [choice] = served.complete(prompt="", **options).choices
    assert choice.text == expected
    opening = served.model.vocab.decode(served.model.generator.encode_prime(None))
    logprobs = _logprobs(served.model, expected, context=opening)
    assert choice.logprobs.token_logprobs == pytest.approx(logprobs, abs=1e-4)


def test_a_text_ends_before_a_stop_string(served):
    expected = served.model.sample(prime="a", length=30, temperature=1, seed=1).text
    [choice] = served.complete(stop=[expected[9]], max_tokens=30, seed=1).choices
    assert choice.text == expected.partition(expected[9])[0]
    assert choice.finish_reason == "stop"


def _logprobs(model, text, context=""):
    """Return the model's log-probability of each character of a text, as torch computes it."""
    trace = model.trace(text, context=context)
    return [-bits * math.log(2) for bits in trace.bits.tolist()]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("max_tokens", [0, 3])
def test_echo_gives_the_likelihood_of_a_prompt(served, max_tokens, *, stream):
    options = {"echo": True, "logprobs": 2, "max_tokens": max_tokens, "seed": 1}
    logprobs = {}
    for choice in served.choices(prompt="and the word", stream=stream, **options):
        for name, values in choice.logprobs.model_dump().items():
            logprobs[name] = logprobs.get(name, []) + values
    text = "".join(logprobs["tokens"])
    assert text.startswith("and the word")
    assert logprobs["text_offset"] == list(range(12 + max_tokens))
    assert logprobs["token_logprobs"][0] is logprobs["top_logprobs"][0] is None
    expected = _logprobs(served.model, text[1:], context=text[0])
    assert logprobs["token_logprobs"][1:] == pytest.approx(expected, abs=1e-4)


def test_the_most_likely_characters_are_those_of_predict(served):
    [choice] = served.choices(prompt="and", echo=True, logprobs=5, max_tokens=1, temperature=0)
    found = choice.logprobs.top_logprobs[-1]
    expected = served.model.predict("and", top=5)
    assert list(found) == [one.character for one in expected]
    assert list(found.values()) == pytest.approx(
        [math.log(one.probability) for one in expected], abs=0.01
    )
    assert choice.logprobs.token_logprobs[-1] == max(found.values())


def test_a_token_stands_in_its_list_however_unlikely_it_is(served):
    [choice] = served.choices(prompt="azq", echo=True, logprobs=0, max_tokens=0)
    assert choice.finish_reason == "length"
    found = choice.logprobs
    for index, token in enumerate(found.tokens[1:], 1):
        assert found.top_logprobs[index] == {token: found.token_logprobs[index]}


def test_a_document_is_measured_after_its_end_symbol(train_run):
    run = train_run("lines-001", steps=20, hidden_size=8, documents="lines")
    for served in _start(charrnn.load(run.path), None):
        asked = {"echo": True, "logprobs": 0, "max_tokens": 0}
        [alone] = served.choices(prompt="and", **asked)
        [after_end] = served.choices(prompt="\0and", **asked)
        *expected, _ = _logprobs(served.model, "and")  # without the END of the document
        assert after_end.logprobs.token_logprobs[1:] == pytest.approx(expected, abs=1e-4)
        assert alone.logprobs.token_logprobs[1:] == pytest.approx(expected[1:], abs=1e-4)


def test_ids_of_characters_are_a_prompt(served):
    ids = served.model.vocab.encode("and").tolist()
    options = {"max_tokens": 9, "seed": 2, "echo": True}
    [of_text] = served.choices(prompt="and", **options)
    for prompt in (ids, [ids]):
        [of_ids] = served.choices(prompt=prompt, **options)
        assert of_ids.text == of_text.text


def test_a_tokenizer_counts_characters(served):
    def ask(path, **asked):
        return json.loads(served.ask(path, json.dumps(asked).encode())[1])

    assert json.loads(served.ask("/tokenizer_info")[1])["bos_token"] == "\n"
    tokens = ask("/tokenize", prompt="and \u0416", add_special_tokens=False)["tokens"]
    assert tokens == served.model.vocab.encode("and \u0416").tolist()
    assert ask("/detokenize", tokens=tokens) == {"prompt": "and \ufffd"}

    # The unknown symbol is measured, too, so that the tokens are as many as were asked for.
    [choice] = served.choices(prompt=tokens, echo=True, logprobs=0, max_tokens=0)
    assert len(choice.logprobs.token_logprobs) == 5


@pytest.mark.parametrize(
    "neutral",
    [
        {"frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}, "best_of": 1},
        {"frequency_penalty": None, "logit_bias": None, "suffix": None, "best_of": None},
        {"suffix": "", "stop": "", "top_k": 0, "temperature": None},
        {"stop": None, "top_k": -1, "top_p": 1, "min_p": 0, "n": 1},
    ],
)
def test_neutral_values_that_clients_send_change_nothing(served, neutral):
    text = served.text_of(prompt="a", max_tokens=20, seed=3, **neutral)
    assert text == served.model.sample(prime="a", length=20, temperature=1, seed=3).text


@pytest.mark.parametrize(
    "wanted",
    [
        {"frequency_penalty": 0.5},
        {"presence_penalty": -1},
        {"logit_bias": {"50256": -100}},
        {"best_of": 2},
        {"suffix": "end"},
        {"top_k": -2},
    ],
)
def test_what_a_character_model_does_not_do_is_refused(served, wanted):
    assert next(iter(wanted)) in served.refused("/v1/completions", json.dumps(wanted).encode())


def test_every_option_of_the_distribution_is_taken(served):
    options = {"temperature": 0.7, "top_k": 5, "top_p": 0.9, "min_p": 0.02}
    assert {*options} == {field.name for field in fields(Shaping)}
    text = served.text_of(prompt="a", max_tokens=40, seed=3, **options)
    assert text == served.model.sample(prime="a", length=40, seed=3, **options).text


def test_texts_of_several_clients_at_a_time_are_those_of_one(served):
    def ask(seed):
        return served.complete(prompt="ae"[seed % 2], max_tokens=200, seed=seed).choices[0].text

    with ThreadPoolExecutor() as threads:
        texts = list(threads.map(ask, range(6)))
    assert texts == [
        served.model.sample(prime="ae"[s % 2], length=200, temperature=1, seed=s).text
        for s in range(6)
    ]


@pytest.mark.parametrize(
    "body, reason",
    [
        (b"[" * 50_000, "The body is not JSON: recursion limit exceeded"),
        (b"[1]", "The body must be a JSON object, not [1]."),
        (
            b'{"max_token": 2}',
            "There is no field max_token. Did you mean max_tokens? Leave it out.",
        ),
        (
            b'{"max_tokens": 50001}',
            "max_tokens must be a whole number from 0 to 50,000, not 50001.",
        ),
        (b'{"top_k": 2.5}', "top_k must be a whole number, not 2.5."),
        (b'{"stream": "yes"}', 'stream must be true or false, not "yes".'),
        (b'{"max_tokens": 1, "n": 2, "prompt": "' + b"a" * 25_000 + b'"}', "with the prompts"),
        (b'{"temperature": -1}', "`temperature` is -1"),
        (b'{"logprobs": 21}', "logprobs must be a whole number from 0 to 20, not 21."),
        (b'{"prompt": [1, 9999]}', "`prompt` has the token 9999"),
        (
            b'{"prompt": [1, "a"]}',
            "prompt must be a string, a list of ids, or a list of these, not ",
        ),
        (b'{"stop": [""]}', 'stop must be at most 16 strings of 1 to 100 characters, not "".'),
        (b'{"stop": ["' + b"a" * 101 + b'"]}', "aaa…."),
        (
            '{"prompt": "\u0416"}'.encode(),
            "The prompt has characters that are not in the vocabulary",
        ),
        (b'{"prompt": "\\ud800"}', "The body is not JSON: "),
    ],
)
def test_what_cannot_be_answered_is_refused_with_its_reason(served, body, reason):
    assert reason in served.refused("/v1/completions", body)


def test_requests_of_other_sites_and_large_ones_are_refused(served):
    assert served.ask("/v1/completions", b"{}", content_type="text/plain")[0] == 415
    json_type = "Application/JSON ; x=y"
    assert served.ask("/v1/completions", b'{"max_tokens": 1}', content_type=json_type)[0] == 200
    assert served.ask("/v1/completions", b" " * (completions.MAX_BODY + 1))[0] == 413


@pytest.mark.parametrize("path", ["/", "/v1/completions", "/nowhere"])
def test_a_request_for_another_host_is_refused_with_the_remedy(served, path):
    message = served.refused(path, host="example.org:8000")
    assert message.startswith("The request is for the host 'example.org:8000'.")
    assert "CHARRNN_TOKEN" in message


@pytest.mark.parametrize("host", ["[::1]:8000", "localhost", "127.0.0.2:1", "LOCALHOST:80"])
def test_a_request_may_name_this_machine_by_each_of_its_names(served, host):
    assert served.ask("/v1/models", host=host)[0] == 200


@pytest.mark.parametrize("path", ["tokenize", "detokenize"])
def test_a_field_that_is_missing_is_named(served, path):
    assert " is missing; it must be a " in served.refused(f"/{path}", b"{}")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HT",
        b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        # A request that is answered, and the first byte of its body or of the next request.
        b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
)
def test_connections_that_send_no_request_are_closed(served, monkeypatch, sent):
    connections = pytest.importorskip("charrnn.serving.connections")
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.3)
    host, port = served.address.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection((host, int(port)), timeout=60))
            for _ in range(MAX_CONNECTIONS + 2)
        ]
        for one in silent:
            one.sendall(sent)
        # A byte from time to time does not prolong the wait.
        for one in silent:
            with contextlib.suppress(OSError):
                while True:
                    if sent:
                        one.sendall(b"G")
                    if one.recv(10_000) == b"":
                        break
        assert served.ask("/v1/models")[0] == 200


@pytest.mark.parametrize(
    "sent, status",
    [
        (b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"HTTP/1.1 200 OK"),
        (COMPLETION % (b"%d" % len(PROMPT), PROMPT), b"HTTP/1.1 200 OK"),
        (COMPLETION % (b"99", PROMPT), b""),
        (b"GET /v1/mod", b""),
        (b"", b""),
    ],
)
def test_a_client_that_sends_no_more_gets_the_answer_to_a_whole_request(served, sent, status):
    host, port = served.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answer:
            assert answer.read().partition(b"\r\n")[0] == status


@pytest.mark.parametrize("reads_on", [True, False])
def test_a_connection_of_which_nobody_reads_is_closed(monkeypatch, reads_on):
    connections = pytest.importorskip("charrnn.serving.connections")
    monkeypatch.setattr(connections, "READ_SECONDS", 0.01)
    connection = connections.Connection.__new__(connections.Connection)
    connection.flow = connection.transport = Mock()

    async def wait():
        connection.loop = asyncio.get_running_loop()
        connection.pause_writing()
        if reads_on:
            connection.resume_writing()
        await asyncio.sleep(0.2)

    asyncio.run(wait())
    assert connection.transport.abort.called is not reads_on


def test_a_client_that_takes_its_time_between_requests_is_served(served, monkeypatch):
    connections = pytest.importorskip("charrnn.serving.connections")
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.2)
    connection = HTTPConnection(served.address.removeprefix("http://"), timeout=600)
    with contextlib.closing(connection):
        for _ in range(2):
            connection.request("GET", "/v1/models")
            assert connection.getresponse().read()
            time.sleep(0.5)


def test_other_paths_say_what_there_is(served):
    assert served.ask("/../config.yaml")[0] == 404
    assert served.ask("/v1/models/another")[0] == 404
    assert json.loads(served.ask("/v1/models/lstm-001")[1])["id"] == "lstm-001"
    message = served.refused("/v1/chat/completions", b"{}", status=404)
    assert "use POST /v1/completions with a prompt" in message


def test_a_token_is_asked_of_clients_and_browsers(lstm):
    for served in _start(charrnn.load(lstm.path), "secret"):
        assert served.complete("secret", max_tokens=3).choices[0].text
        with pytest.raises(
            pytest.importorskip("openai").AuthenticationError, match="needs its token"
        ):
            served.complete("Secret", max_tokens=3)
        assert served.ask("/")[2]["www-authenticate"].startswith("Basic")
        assert served.ask("/v1/models", host="a.org", authorization="Bearer secret")[0] == 200
        status, page, headers = served.ask("/", authorization="Basic Y2hhcnJubjpzZWNyZXQ=")
        assert status == 200
        assert headers["content-type"].startswith("text/html")
        assert b"<script" in page


@pytest.mark.parametrize(
    "host, is_local",
    [("127.0.0.2", True), ("::1", True), ("LocalHost", True), ("example.org", False)],
)
def test_only_this_machine_reaches_a_loopback_address(host, is_local):
    assert completions.is_loopback(host) == is_local


@pytest.mark.parametrize(
    "token, host, reason",
    [
        ("", "192.0.2.1", "Cannot assign requested address"),
        ("pé", "192.0.2.1", "Cannot assign requested address"),
        ("", "127.0.0.1:8000", "Try 127.0.0.1, or port 0"),
        ("", "0.0.0.0", "set CHARRNN_TOKEN to a token"),
        ("pé", "0.0.0.0", "CHARRNN_TOKEN must be printable ASCII"),
    ],
)
def test_an_address_that_cannot_be_or_is_open_is_refused(token, host, reason, monkeypatch):
    monkeypatch.setenv("CHARRNN_TOKEN", token)
    with pytest.raises(UsageError, match=reason):
        serve(ServeOptions(run="nowhere", host=host, port=0))


def test_the_address_is_the_one_that_is_bound(command, alphabet_run, monkeypatch):
    addresses = []

    def run(server, sockets):
        addresses.extend(listening.getsockname() for listening in sockets)

    monkeypatch.setattr(uvicorn.Server, "run", run)
    ran = command("serve", alphabet_run, "--host", "localhost", "--port", 0)
    [(address, port)] = addresses
    assert ran.out == f"http://{address}:{port}\n"


@pytest.mark.parametrize("kind", ["byte", "documents"])
def test_bytes_and_documents_are_counted_as_they_are_drawn(kind, byte_run, train_run):
    run = (
        byte_run
        if kind == "byte"
        else train_run("lines-001", steps=20, hidden_size=8, documents="lines")
    )
    for served in _start(charrnn.load(run.path), None):
        options = {"seed": 7, "logprobs": 1, "echo": True}
        [choice] = served.complete(max_tokens=700, **options).choices
        expected = served.model.sample(prime="a", length=700, temperature=1, seed=7)
        assert choice.text == "a" + expected.text
        assert choice.finish_reason == ("stop" if expected.has_ended else "length")
        for offset, token in zip(choice.logprobs.text_offset, choice.logprobs.tokens, strict=True):
            assert choice.text.startswith(token, offset)
        if expected.has_ended:  # END is the last one that may be drawn
            [choice] = served.complete(max_tokens=len(expected.logprobs), **options).choices
            assert choice.finish_reason == "stop"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_ends_it_during_a_request(lstm):
    command = [sys.executable, "-m", "charrnn", "serve", str(lstm.path), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            served = Served(process.stdout.readline().strip(), charrnn.load(lstm.path))
            with served.complete(max_tokens=49_000, stream=True) as events:
                next(iter(events))
                process.send_signal(signal.SIGINT)
                assert process.wait(timeout=600) == 130
        finally:
            process.kill()
        assert process.stderr.read() == "lstm-001 is served; Ctrl-C ends it\n"
