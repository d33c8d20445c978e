"""Fixtures for client tests. `MOSS_URL` is the address of a running server, without `/v1`;
`scripts/check-api` starts one and sets it."""

import json
import os
import re
import time
import urllib.request

import pytest

from dialogue import FILMS, user


@pytest.fixture(scope="session")
def server():
    return os.environ["MOSS_URL"].rstrip("/")


@pytest.fixture(scope="session")
def url(server):
    return server + "/v1"


@pytest.fixture(scope="session")
def model(url):
    with urllib.request.urlopen(url + "/models") as response:
        return json.load(response)["data"][0]["id"]


@pytest.fixture(scope="session")
def reference(url, model):
    """Returns a function that sends messages without a client library and with no optional field,
    and returns the text of the answer and the tokens of the prompt."""

    def ask(*messages, **fields):
        body = json.dumps(
            {"model": model, "messages": messages, "temperature": 0, **fields}
        ).encode()
        request = urllib.request.Request(
            url + "/chat/completions", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request) as response:
            answer = json.load(response)
        return answer["choices"][0]["message"]["content"], answer["usage"]["prompt_tokens"]

    return ask


@pytest.fixture(scope="session")
def films(reference):
    """The list of five films, the longest of the answers."""
    text, _ = reference(user(FILMS))
    assert len(text.splitlines()) == 6, text
    return text


@pytest.fixture
def cancelled(server):
    """Returns a function to call after a stream was abandoned. It waits until no answer runs, and
    fails unless exactly one answer was cancelled."""

    def read(name):
        with urllib.request.urlopen(server + "/metrics") as response:
            found = re.search(rf"^{re.escape(name)} (\d+)$", response.read().decode(), re.MULTILINE)
        return int(found[1]) if found else 0

    gone = 'moss_answers_total{reason="gone"}'
    before = read(gone)

    def wait():
        deadline = time.monotonic() + 20
        while read(gone) == before or read("moss_batch_size"):
            assert time.monotonic() < deadline, "the answer was not cancelled, or still runs"
            time.sleep(0.02)
        assert read(gone) == before + 1, "the answer was not cancelled"

    return wait
