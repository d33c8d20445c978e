"""pydantic-ai: an `Agent` with an `OpenAIChatModel`."""

import asyncio

import pytest
from pydantic_ai import Agent, ModelSettings
from pydantic_ai.exceptions import ModelContextWindowExceededError, ModelHTTPError
from pydantic_ai.messages import ModelMessagesTypeAdapter
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

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


@pytest.fixture
def make(url, model):
    def make(name=model, settings=None, **fields):
        chat = OpenAIChatModel(name, provider=OpenAIProvider(base_url=url, api_key="any"))
        return Agent(chat, model_settings=ModelSettings(temperature=0, **settings or {}), **fields)

    return make


async def streamed(agent, question, **fields):
    async with agent.run_stream(question, **fields) as answer:
        pieces = [piece async for piece in answer.stream_text(delta=True, debounce_by=None)]
        return "".join(pieces), answer.usage, answer.all_messages()


def test_a_stream_says_what_a_whole_answer_says(make):
    whole = make().run_sync(GREETING)
    text, usage, _ = asyncio.run(streamed(make(), GREETING))
    assert whole.output == text == GREETING_REPLY
    assert usage.input_tokens == whole.usage.input_tokens > 0
    assert usage.output_tokens == whole.usage.output_tokens > 0


@pytest.mark.parametrize("stored", [False, True], ids=["as objects", "stored as JSON"])
def test_a_history_is_taken_back_as_the_library_represents_it(make, reference, stored):
    expected = reference(user(GREETING), assistant(GREETING_REPLY), user(SUM))
    histories = [
        make().run_sync(GREETING).all_messages(),
        asyncio.run(streamed(make(), GREETING))[2],
    ]
    for history in histories:
        if stored:
            history = ModelMessagesTypeAdapter.validate_json(
                ModelMessagesTypeAdapter.dump_json(history)
            )
        second = make().run_sync(SUM, message_history=history)
        assert (second.output, second.usage.input_tokens) == expected


@pytest.mark.parametrize("kind", ["system_prompt", "instructions"])
def test_a_system_message_arrives(make, reference, kind):
    answer = make(**{kind: SYSTEM}).run_sync(SUM)
    assert (answer.output, answer.usage.input_tokens) == reference(system(SYSTEM), user(SUM))


def test_instructions_that_begin_with_the_second_turn_are_taken(make):
    history = make().run_sync(GREETING).all_messages()
    assert make(instructions=SYSTEM).run_sync(SUM, message_history=history).output


def test_a_system_prompt_within_the_history_is_taken(make):
    history = (
        make().run_sync(GREETING).all_messages()
        + make(system_prompt=SYSTEM).run_sync(GREETING).all_messages()
    )
    assert make().run_sync(SUM, message_history=history).output


def test_a_stop_string_ends_the_answer(make, films):
    assert (
        make().run_sync(FILMS, model_settings={"stop_sequences": [STOP]}).output.strip()
        == films.partition(STOP)[0].strip()
    )


def test_a_limit_of_tokens_is_taken(make, films):
    answer = make(settings={"max_tokens": 500, "seed": 1, "parallel_tool_calls": False}).run_sync(
        FILMS
    )
    assert answer.output == films


def test_an_unknown_model_is_not_found(make):
    with pytest.raises(ModelHTTPError) as found:
        make("gpt-4").run_sync(SUM)
    assert found.value.status_code == 404
    assert found.value.body["code"] == "model_not_found"


def test_a_full_context_has_its_own_exception(make):
    with pytest.raises(ModelContextWindowExceededError):
        make().run_sync(TOO_LONG)
    with pytest.raises(ModelContextWindowExceededError):
        asyncio.run(streamed(make(), TOO_LONG))


def test_a_tool_is_refused_by_name(make):
    agent = make()

    @agent.tool_plain
    def add(a: int, b: int) -> int:
        return a + b

    with pytest.raises(ModelHTTPError) as found:
        agent.run_sync(SUM)
    assert found.value.body["param"].startswith("tools")


def test_a_stream_that_is_left_is_cancelled(make, cancelled):
    async def ask():
        async with make(settings=ENDLESS).run_stream(FILMS) as answer:
            async for _ in answer.stream_text(delta=True, debounce_by=None):
                break
            await answer.cancel()

    asyncio.run(ask())
    cancelled()


def test_the_answer_of_a_sum(make):
    assert make().run_sync(SUM).output == SUM_REPLY
