"""The official Python client against a running server: `openai_client.py http://127.0.0.1:8888/v1`."""

import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="any", max_retries=0)
model = client.models.list().data[0].id
question = dict(model=model, messages=[{"role": "user", "content": "What is 3 + 4?"}], temperature=0)
expected = "3 + 4 = 7."

whole = client.chat.completions.create(**question, logprobs=True, top_logprobs=2)
assert whole.choices[0].message.content == expected, whole
assert whole.choices[0].finish_reason == "stop", whole
assert len(whole.choices[0].logprobs.content) == whole.usage.completion_tokens, whole

chunks = list(client.chat.completions.create(**question, stream=True, stream_options={"include_usage": True}))
text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
assert text == expected, chunks
assert chunks[-1].usage == whole.usage, chunks[-1]
assert chunks[-1].moss["stop_reason"] == "end_of_turn", chunks[-1]

older = client.completions.create(model=model, prompt="Hello", max_tokens=4, temperature=0)
pieces = client.completions.create(model=model, prompt="Hello", max_tokens=4, temperature=0, stream=True)
assert "".join(piece.choices[0].text for piece in pieces) == older.choices[0].text, older

several = client.chat.completions.create(**question, n=2, stop=["4 = 7"], extra_body={"moss": {"max_time_s": 5}})
assert [choice.message.content for choice in several.choices] == ["3 + "] * 2, several

for error, fields in [
    (openai.BadRequestError, {"tools": [{"type": "function", "function": {"name": "f"}}]}),
    (openai.UnprocessableEntityError, {"temperature": 2.5}),
    (openai.NotFoundError, {"model": "gpt-4"}),
]:
    try:
        client.chat.completions.create(**{**question, **fields})
    except error as found:
        assert found.param == next(iter(fields)), found
    else:
        raise AssertionError(f"{fields} should be refused")

with client.chat.completions.create(**question, stream=True) as stream:
    next(iter(stream))  # and gone
print("openai", openai.__version__, "for Python: as expected")
