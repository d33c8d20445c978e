"""The official Python client. Runs with openai 3, and with openai 2, which LlamaIndex requires."""

import asyncio

import openai
import pytest

from dialogue import (
    ENDLESS,
    FILMS,
    GREETING,
    GREETING_REPLY,
    STOP,
    SUM,
    SUM_REPLY,
    SYSTEM,
    TOO_LONG,
    system,
    user,
)


@pytest.fixture(scope="module")
def client(url):
    return openai.OpenAI(base_url=url, api_key="any", max_retries=0)


@pytest.fixture(scope="module")
def ask(client, model):
    def ask(*messages, **fields):
        return client.chat.completions.create(
            model=model, messages=messages, **{"temperature": 0, **fields}
        )

    return ask


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_the_model_is_listed(client, model):
    assert [found.id for found in client.models.list()] == [model]
    assert client.models.retrieve(model).id == model


def test_a_stream_says_what_a_whole_answer_says(ask):
    whole = ask(user(GREETING))
    chunks = list(ask(user(GREETING), stream=True, stream_options={"include_usage": True}))
    assert whole.choices[0].message.content == text_of(chunks) == GREETING_REPLY
    assert (
        [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1]
        == whole.choices[0].finish_reason
        == "stop"
    )
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    # null, not left out.
    assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-1].moss["stop_reason"] == "end_of_turn"


def test_a_stream_without_options_has_no_usage(ask):
    chunks = list(ask(user(SUM), stream=True))
    assert text_of(chunks) == SUM_REPLY
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


def test_the_asynchronous_client_hears_the_same(url, model):
    async def ask():
        async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
            question = dict(model=model, messages=[user(GREETING)], temperature=0)
            stream = await client.chat.completions.create(**question, stream=True)
            whole = await client.chat.completions.create(**question)
            return whole.choices[0].message.content, text_of([chunk async for chunk in stream])

    assert asyncio.run(ask()) == (GREETING_REPLY, GREETING_REPLY)


def stream_helper(client, model):
    with client.chat.completions.stream(
        model=model, messages=[user(GREETING)], temperature=0
    ) as stream:
        stream.until_done()
        return stream.get_final_completion().choices[0].message


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream helper"])
@pytest.mark.parametrize(
    "form",
    [
        lambda message: message,
        lambda message: message.model_dump(),
        lambda message: message.model_dump(exclude_none=True),
        lambda message: message.to_dict(),
    ],
    ids=["object", "model_dump", "model_dump without none", "to_dict"],
)
def test_an_answer_is_taken_back_as_the_client_represents_it(
    client, model, ask, reference, form, streamed
):
    first = stream_helper(client, model) if streamed else ask(user(GREETING)).choices[0].message
    assert first.content == GREETING_REPLY
    second = ask(user(GREETING), form(first), user(SUM))
    expected = reference(
        user(GREETING), {"role": "assistant", "content": GREETING_REPLY}, user(SUM)
    )
    assert (second.choices[0].message.content, second.usage.prompt_tokens) == expected


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_system_message_arrives(ask, reference, role):
    answer = ask({"role": role, "content": SYSTEM}, user(SUM))
    assert (answer.choices[0].message.content, answer.usage.prompt_tokens) == reference(
        system(SYSTEM), user(SUM)
    )
    assert answer.usage.prompt_tokens != reference(user(SUM))[1]


@pytest.mark.parametrize("stop", [STOP, [STOP]], ids=["string", "list"])
def test_a_stop_string_ends_the_answer(ask, films, stop):
    answer = ask(user(FILMS), stop=stop).choices[0]
    assert (answer.message.content, answer.finish_reason) == (films.partition(STOP)[0], "stop")
    assert text_of(ask(user(FILMS), stop=stop, stream=True)) == films.partition(STOP)[0]


def test_several_answers_and_a_time_limit(ask):
    several = ask(user(SUM), n=2, stop=["4 = 7"], extra_body={"moss": {"max_time_s": 5}})
    assert [choice.message.content for choice in several.choices] == ["3 + "] * 2


def test_every_token_has_its_log_probability(ask):
    answer = ask(user(GREETING), logprobs=True, top_logprobs=2)
    tokens = answer.choices[0].logprobs.content
    assert all(len(token.top_logprobs) == 2 for token in tokens)
    assert (
        b"".join(bytes(token.bytes) for token in tokens).decode().strip().startswith(GREETING_REPLY)
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": []},
        {"tools": None, "tool_choice": None},
        {"tool_choice": "none", "parallel_tool_calls": True},
        {"functions": [], "function_call": "none"},
        {"store": False, "metadata": {}, "service_tier": "auto", "user": "someone"},
        {"prompt_cache_key": "a", "safety_identifier": "b"},
        {"response_format": {"type": "text"}, "modalities": ["text"]},
        {"top_logprobs": 0},
        {"extra_body": {"max_tokens": 512.0, "top_k": -1}},
        {"extra_body": {"max_tokens": -1}},
        {"stream_options": None, "logit_bias": None, "seed": None, "stop": None, "n": None},
    ],
    ids=lambda fields: ", ".join(fields),
)
def test_a_neutral_field_changes_nothing(ask, fields):
    assert ask(user(SUM), **fields).choices[0].message.content == SUM_REPLY


TOOL = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
}


@pytest.mark.parametrize(
    ("error", "code", "fields"),
    [
        (openai.NotFoundError, "model_not_found", {"model": "gpt-4"}),
        (openai.BadRequestError, "unsupported_parameter", {"tools": [TOOL]}),
        (openai.UnprocessableEntityError, "invalid_value", {"temperature": 2.5}),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else None,
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_refusal_has_its_type_its_code_and_its_field(client, model, error, code, fields, stream):
    with pytest.raises(error) as found:
        client.chat.completions.create(
            **{"model": model, "messages": [user(SUM)], "stream": stream, **fields}
        )
    assert found.value.code == code
    assert found.value.param.partition("[")[0] == next(iter(fields))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_full_context_is_told_by_its_code(ask, stream):
    with pytest.raises(openai.BadRequestError) as found:
        ask(user(TOO_LONG), stream=stream)
    assert found.value.code == "context_length_exceeded"
    assert found.value.type == "invalid_request_error"


def test_a_route_of_another_api_is_not_found(client, model):
    with pytest.raises(openai.NotFoundError) as found:
        client.responses.create(model=model, input=SUM)
    assert found.value.code == "unknown_url"


def test_a_stream_that_is_closed_is_cancelled(ask, cancelled):
    with ask(user(FILMS), stream=True, **ENDLESS) as stream:
        for _ in range(3):
            next(stream)
    cancelled()


def test_plain_completions_stream_what_they_say(client, model):
    question = dict(model=model, prompt="Hello", max_tokens=4, temperature=0)
    whole = client.completions.create(**question, echo=False, suffix=None, best_of=1)
    pieces = client.completions.create(**question, stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == whole.choices[0].text
    assert whole.usage.completion_tokens > 0
