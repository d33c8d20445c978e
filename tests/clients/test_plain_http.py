"""HTTP libraries decode text by the charset of the content type. `requests` decodes `text/*`
without a charset as Latin-1."""

import json

import httpx
import pytest
import requests

from dialogue import FILMS, GREETING, GREETING_REPLY, user


def body(model, question):
    return {"model": model, "messages": [user(question)], "temperature": 0, "stream": True}


def text_of(lines):
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    return "".join(
        json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events
    )


def by_requests(url, **options):
    with requests.post(url + "/chat/completions", stream=True, **options) as response:
        response.raise_for_status()
        return response.encoding, text_of(response.iter_lines(decode_unicode=True))


def by_httpx(url, **options):
    with httpx.stream("POST", url + "/chat/completions", **options) as response:
        response.raise_for_status()
        return response.charset_encoding, text_of(response.iter_lines())


@pytest.mark.parametrize("ask", [by_requests, by_httpx])
def test_a_stream_names_its_charset_and_is_read_by_it(url, model, films, ask):
    assert ask(url, json=body(model, GREETING)) == ("utf-8", GREETING_REPLY)
    assert ask(url, json=body(model, FILMS)) == ("utf-8", films)


@pytest.mark.parametrize("post", [requests.post, httpx.post])
def test_a_whole_answer_and_an_error_are_read_as_utf_8(url, model, post):
    answer = post(url + "/chat/completions", json={**body(model, GREETING), "stream": False})
    assert json.loads(answer.text)["choices"][0]["message"]["content"] == GREETING_REPLY
    error = post(url + "/chat/completions", json=body("不存在", GREETING))
    assert error.status_code == 404
    assert "不存在" in json.loads(error.text)["error"]["message"]
