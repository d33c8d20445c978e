"""LlamaIndex: `OpenAILike` of llama-index-llms-openai-like."""

import asyncio
import gc

import openai
import pytest
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

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


@pytest.fixture(scope="module")
def make(url, model):
    def make(**fields):
        common = dict(
            model=model,
            api_base=url,
            api_key="any",
            is_chat_model=True,
            context_window=2048,
            temperature=0,
            max_retries=0,
        )
        return OpenAILike(**{**common, **fields})

    return make


@pytest.fixture(scope="module")
def chat(make):
    return make()


def said(role, content):
    return ChatMessage(role=role, content=content)


def test_a_stream_says_what_a_whole_answer_says(make):
    chat = make(additional_kwargs={"stream_options": {"include_usage": True}})
    whole = chat.chat([said("user", GREETING)])
    parts = list(chat.stream_chat([said("user", GREETING)]))
    assert (
        whole.message.content
        == parts[-1].message.content
        == "".join(part.delta or "" for part in parts)
        == GREETING_REPLY
    )
    assert whole.raw.usage.total_tokens == parts[-1].raw.usage.total_tokens > 0


def test_the_asynchronous_methods_hear_the_same(make):
    async def ask():
        chat = make()
        whole = await chat.achat([said("user", GREETING)])
        parts = [part async for part in await chat.astream_chat([said("user", GREETING)])]
        return whole.message.content, parts[-1].message.content

    assert asyncio.run(ask()) == (GREETING_REPLY, GREETING_REPLY)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_answer_is_taken_back_as_the_library_represents_it(chat, reference, streamed):
    question = [said("user", GREETING)]
    first = list(chat.stream_chat(question))[-1] if streamed else chat.chat(question)
    second = chat.chat([*question, first.message, said("user", SUM)])
    expected = reference(user(GREETING), assistant(GREETING_REPLY), user(SUM))
    assert (second.message.content, second.raw.usage.prompt_tokens) == expected


def test_a_system_message_arrives(chat, reference):
    answer = chat.chat([said("system", SYSTEM), said("user", SUM)])
    assert (answer.message.content, answer.raw.usage.prompt_tokens) == reference(
        system(SYSTEM), user(SUM)
    )


def test_a_chat_engine_keeps_the_conversation(chat, reference):
    engine = SimpleChatEngine.from_defaults(llm=chat, system_prompt=SYSTEM)
    first = engine.chat(GREETING).response
    assert first == reference(system(SYSTEM), user(GREETING))[0]
    second = "".join(engine.stream_chat(SUM).response_gen)
    assert second == reference(system(SYSTEM), user(GREETING), assistant(first), user(SUM))[0]


def test_a_stop_string_ends_the_answer(chat, films):
    answer = chat.chat([said("user", FILMS)], stop=[STOP])
    assert answer.message.content == films.partition(STOP)[0]


def test_complete_asks_as_a_user(chat):
    assert chat.complete(SUM).text == SUM_REPLY
    assert list(chat.stream_complete(SUM))[-1].text == SUM_REPLY


def test_plain_completions_stream_what_they_say(make):
    complete = make(is_chat_model=False, max_tokens=4)
    assert list(complete.stream_complete("Hello"))[-1].text == complete.complete("Hello").text


def test_log_probabilities_are_read(make):
    answer = make(logprobs=True, top_logprobs=2).chat([said("user", SUM)])
    assert answer.message.content == SUM_REPLY
    assert answer.logprobs and all(len(token) == 2 for token in answer.logprobs)


def test_an_unknown_model_is_not_found(make):
    with pytest.raises(openai.NotFoundError, match="gpt-4"):
        make(model="gpt-4").chat([said("user", SUM)])


def test_a_full_context_is_told_by_its_code(chat):
    with pytest.raises(openai.BadRequestError) as found:
        chat.chat([said("user", TOO_LONG)])
    assert found.value.code == "context_length_exceeded"


def test_a_stream_that_is_closed_is_cancelled(make, cancelled):
    stream = make(additional_kwargs=ENDLESS).stream_chat([said("user", FILMS)])
    for _ in range(3):
        next(stream)
    stream.close()
    # The library drops the connection without closing it; a reference cycle keeps it until this.
    gc.collect()
    cancelled()
