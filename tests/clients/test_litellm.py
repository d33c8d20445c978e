"""litellm: the library that many agents call models through."""

import asyncio

import litellm
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
    assistant,
    system,
    user,
)


@pytest.fixture(scope="module", params=["openai", "hosted_vllm"])
def question(request, url, model):
    return dict(
        model=f"{request.param}/{model}", api_base=url, api_key="any", temperature=0, max_retries=0
    )


@pytest.fixture(scope="module")
def ask(question):
    return lambda *messages, **fields: litellm.completion(
        **{**question, "messages": list(messages), **fields}
    )


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_a_stream_says_what_a_whole_answer_says(ask):
    whole = ask(user(GREETING))
    chunks = list(ask(user(GREETING), stream=True, stream_options={"include_usage": True}))
    assert whole.choices[0].message.content == text_of(chunks) == GREETING_REPLY
    assert whole.choices[0].finish_reason == "stop"
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens > 0


def test_chunks_are_built_into_the_whole_answer(ask):
    built = litellm.stream_chunk_builder(list(ask(user(SUM), stream=True)), messages=[user(SUM)])
    assert built.choices[0].message.content == SUM_REPLY


def test_the_asynchronous_functions_hear_the_same(question):
    async def ask():
        fields = {**question, "messages": [user(GREETING)]}
        whole = await litellm.acompletion(**fields)
        stream = await litellm.acompletion(**fields, stream=True)
        return whole.choices[0].message.content, text_of([chunk async for chunk in stream])

    assert asyncio.run(ask()) == (GREETING_REPLY, GREETING_REPLY)


@pytest.mark.parametrize(
    "form",
    [lambda message: message, lambda message: message.model_dump()],
    ids=["object", "model_dump"],
)
def test_an_answer_is_taken_back_as_the_library_represents_it(ask, reference, form):
    first = ask(user(GREETING)).choices[0].message
    second = ask(user(GREETING), form(first), user(SUM))
    expected = reference(user(GREETING), assistant(GREETING_REPLY), user(SUM))
    assert (second.choices[0].message.content, second.usage.prompt_tokens) == expected


def test_a_system_message_arrives(ask, reference):
    answer = ask(system(SYSTEM), user(SUM))
    assert (answer.choices[0].message.content, answer.usage.prompt_tokens) == reference(
        system(SYSTEM), user(SUM)
    )


def test_a_stop_string_ends_the_answer(ask, films):
    answer = ask(user(FILMS), stop=[STOP]).choices[0]
    assert (answer.message.content, answer.finish_reason) == (films.partition(STOP)[0], "stop")


def test_an_unknown_model_is_not_found(ask, question):
    with pytest.raises(litellm.NotFoundError, match="gpt-4"):
        ask(user(SUM), model=question["model"].partition("/")[0] + "/gpt-4")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_full_context_has_its_own_exception(ask, stream):
    # litellm recognizes a full context by the wording of the message.
    with pytest.raises(litellm.ContextWindowExceededError):
        ask(user(TOO_LONG), stream=stream)


def test_a_stream_that_is_closed_is_cancelled(question, cancelled):
    async def ask():
        stream = await litellm.acompletion(
            **question, messages=[user(FILMS)], stream=True, **ENDLESS
        )
        await anext(stream)
        await stream.aclose()

    asyncio.run(ask())
    cancelled()


def test_plain_completions_are_answered(question):
    fields = {
        **question,
        "model": question["model"].replace("openai/", "text-completion-openai/"),
        "prompt": "Hello",
    }
    assert litellm.text_completion(**fields, max_tokens=4).choices[0].text
