"""LangChain: `ChatOpenAI` of langchain-openai, with a `base_url`."""

import asyncio

import openai
import pytest
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_openai import ChatOpenAI, OpenAI

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
        return ChatOpenAI(
            **{
                "model": model,
                "base_url": url,
                "api_key": "any",
                "temperature": 0,
                "max_retries": 0,
                **fields,
            }
        )

    return make


@pytest.fixture(scope="module")
def chat(make):
    return make()


def test_a_stream_says_what_a_whole_answer_says(make):
    chat = make(stream_usage=True)
    whole = chat.invoke(GREETING)
    chunks = list(chat.stream(GREETING))
    together = chunks[0]
    for chunk in chunks[1:]:
        together += chunk
    assert whole.content == together.content == GREETING_REPLY
    assert whole.usage_metadata["total_tokens"] == together.usage_metadata["total_tokens"] > 0
    assert (
        whole.response_metadata["finish_reason"]
        == together.response_metadata["finish_reason"]
        == "stop"
    )


def test_the_asynchronous_methods_hear_the_same(chat):
    async def ask():
        whole = await chat.ainvoke(GREETING)
        return whole.content, "".join([chunk.content async for chunk in chat.astream(GREETING)])

    assert asyncio.run(ask()) == (GREETING_REPLY, GREETING_REPLY)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_answer_is_taken_back_as_the_library_represents_it(chat, reference, streamed):
    first = chat.invoke(GREETING)
    if streamed:
        first, *rest = chat.stream(GREETING)
        for chunk in rest:
            first += chunk
    second = chat.invoke([HumanMessage(GREETING), first, HumanMessage(SUM)])
    expected = reference(user(GREETING), assistant(GREETING_REPLY), user(SUM))
    assert (second.content, second.usage_metadata["input_tokens"]) == expected


def test_messages_with_names_are_taken(chat, reference):
    messages = [
        HumanMessage(GREETING, name="Planner"),
        AIMessage(GREETING_REPLY, name="moss"),
        HumanMessage(SUM),
    ]
    answer = chat.invoke(messages)
    assert answer.content == reference(user(GREETING), assistant(GREETING_REPLY), user(SUM))[0]


def test_a_history_that_was_cut_to_its_last_messages_is_taken(chat):
    # As `trim_messages` without `start_on` leaves it.
    assert chat.invoke([AIMessage(GREETING_REPLY), HumanMessage(SUM)]).content


def test_a_system_message_arrives(chat, reference):
    answer = chat.invoke([SystemMessage(SYSTEM), HumanMessage(SUM)])
    assert (answer.content, answer.usage_metadata["input_tokens"]) == reference(
        system(SYSTEM), user(SUM)
    )


def test_a_chain_with_a_prompt_and_a_parser_streams(chat):
    prompt = ChatPromptTemplate.from_messages(
        [MessagesPlaceholder("history"), ("human", "{question}")]
    )
    chain = prompt | chat | StrOutputParser()
    given = {"history": [], "question": SUM}
    assert "".join(chain.stream(given)) == chain.invoke(given) == SUM_REPLY
    assert chain.batch([given] * 3) == [SUM_REPLY] * 3


def test_a_stop_string_ends_the_answer(chat, films):
    answer = chat.invoke(FILMS, stop=[STOP])
    assert (answer.content, answer.response_metadata["finish_reason"]) == (
        films.partition(STOP)[0],
        "stop",
    )


def test_a_limit_of_tokens_is_kept(make):
    answer = make(max_tokens=3).invoke(FILMS)
    assert answer.response_metadata["finish_reason"] == "length"
    assert answer.usage_metadata["output_tokens"] == 3


def test_an_unknown_model_is_not_found(make):
    with pytest.raises(openai.NotFoundError, match="gpt-4"):
        make(model="gpt-4").invoke(SUM)


@pytest.mark.parametrize(
    "ask",
    [lambda chat: chat.invoke(TOO_LONG), lambda chat: list(chat.stream(TOO_LONG))],
    ids=["whole", "streamed"],
)
def test_a_full_context_has_its_own_exception(chat, ask):
    with pytest.raises(ContextOverflowError):
        ask(chat)


def test_a_stream_that_is_closed_is_cancelled(make, cancelled):
    stream = make(**ENDLESS).stream(FILMS)
    next(stream)
    stream.close()
    cancelled()


def test_plain_completions_stream_what_they_say(url, model):
    # Its defaults are sent too: `best_of`, `frequency_penalty`, `n`.
    complete = OpenAI(
        model=model, base_url=url, api_key="any", temperature=0, max_tokens=4, max_retries=0
    )
    assert "".join(complete.stream("Hello")) == complete.invoke("Hello")
