// The official JavaScript client.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  assistant,
  cancels,
  ENDLESS_BIAS,
  ENDLESS_TOKENS,
  FILMS,
  GREETING,
  GREETING_REPLY,
  load,
  model,
  reference,
  STOP,
  SUM,
  SUM_REPLY,
  SYSTEM,
  system,
  TOO_LONG,
  url,
  user,
} from "./dialogue.mjs";

const OpenAI = load("openai").OpenAI;
const client = new OpenAI({ baseURL: url, apiKey: "any", maxRetries: 0 });
const ask = (messages, fields) =>
  client.chat.completions.create({ model, messages, temperature: 0, ...fields });
const withUsage = { stream: true, stream_options: { include_usage: true } };

async function collect(stream) {
  const chunks = [];
  for await (const chunk of await stream) chunks.push(chunk);
  return { chunks, text: chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("") };
}

test("a stream says what a whole answer says", async () => {
  const whole = await ask([user(GREETING)]);
  const { chunks, text } = await collect(ask([user(GREETING)], withUsage));
  assert.equal(whole.choices[0].message.content, GREETING_REPLY);
  assert.equal(text, GREETING_REPLY);
  assert.equal(whole.choices[0].finish_reason, "stop");
  assert.equal(chunks.at(-1).usage.total_tokens, whole.usage.total_tokens);
  assert.deepEqual(
    chunks.slice(0, -1).map((chunk) => chunk.usage),
    chunks.slice(0, -1).map(() => null),
  );
});

test("finalMessage() is taken back", async () => {
  const first = await client.chat.completions
    .stream({ model, messages: [user(GREETING)], temperature: 0 })
    .finalMessage();
  assert.equal(first.content, GREETING_REPLY);
  const second = await ask([user(GREETING), first, user(SUM)]);
  const expected = await reference(user(GREETING), assistant(GREETING_REPLY), user(SUM));
  assert.equal(second.choices[0].message.content, expected.text);
  assert.equal(second.usage.prompt_tokens, expected.promptTokens);
});

test("the message of a whole answer is taken back", async () => {
  const first = (await ask([user(GREETING)])).choices[0].message;
  const second = await ask([user(GREETING), first, user(SUM)]);
  assert.equal(
    second.choices[0].message.content,
    (await reference(user(GREETING), assistant(GREETING_REPLY), user(SUM))).text,
  );
});

test("messages of the stream helper are taken back", async () => {
  const helper = client.chat.completions.stream({
    model,
    messages: [user(GREETING)],
    temperature: 0,
  });
  await helper.done();
  assert.equal(helper.messages.length, 2);
  const second = await ask([...helper.messages, user(SUM)], withUsage);
  assert.equal(
    (await collect(second)).text,
    (await reference(user(GREETING), assistant(GREETING_REPLY), user(SUM))).text,
  );
});

test("a stream goes through a ReadableStream and back", async () => {
  const stream = await ask([user(SUM)], { stream: true });
  const { ChatCompletionStream } = load("openai/lib/ChatCompletionStream");
  assert.equal(
    await ChatCompletionStream.fromReadableStream(stream.toReadableStream()).finalContent(),
    SUM_REPLY,
  );
});

test("a system message arrives", async () => {
  const expected = await reference(system(SYSTEM), user(SUM));
  for (const role of ["system", "developer"]) {
    const answer = await ask([{ role, content: SYSTEM }, user(SUM)]);
    assert.equal(answer.choices[0].message.content, expected.text);
    assert.equal(answer.usage.prompt_tokens, expected.promptTokens);
  }
});

test("a stop string ends the answer", async () => {
  const expected = (await reference(user(FILMS))).text.split(STOP)[0];
  const answer = (await ask([user(FILMS)], { stop: STOP })).choices[0];
  assert.equal(answer.message.content, expected);
  assert.equal(answer.finish_reason, "stop");
  assert.equal((await collect(ask([user(FILMS)], { stop: [STOP], stream: true }))).text, expected);
});

test("neutral fields change nothing", async () => {
  for (const fields of [
    { tools: [] },
    { tools: null, tool_choice: null },
    { tool_choice: "none", functions: [] },
    {
      store: false,
      metadata: null,
      service_tier: "auto",
      prompt_cache_key: "a",
      safety_identifier: "b",
      user: "someone",
    },
    { stream_options: null, response_format: { type: "text" }, logprobs: false, top_logprobs: 0 },
  ]) {
    const answer = await ask([user(SUM)], fields);
    assert.equal(answer.choices[0].message.content, SUM_REPLY, JSON.stringify(fields));
  }
  const { text } = await collect(
    ask([user(SUM)], {
      stream: true,
      stream_options: { include_usage: true, include_obfuscation: false },
    }),
  );
  assert.equal(text, SUM_REPLY);
});

test("refusals have their types, codes and fields", async () => {
  const tools = [
    { type: "function", function: { name: "add", parameters: { type: "object", properties: {} } } },
  ];
  for (const [kind, code, fields] of [
    [OpenAI.NotFoundError, "model_not_found", { model: "gpt-4" }],
    [OpenAI.BadRequestError, "unsupported_parameter", { tools }],
    [OpenAI.UnprocessableEntityError, "invalid_value", { temperature: 2.5 }],
  ]) {
    for (const stream of [false, true]) {
      await assert.rejects(ask([user(SUM)], { ...fields, stream }), (error) => {
        assert.ok(error instanceof kind, String(error));
        assert.equal(error.code, code);
        assert.equal(error.param.split("[")[0], Object.keys(fields)[0]);
        return true;
      });
    }
  }
});

test("a full context is told by its code", async () => {
  await assert.rejects(ask([user(TOO_LONG)]), { status: 400, code: "context_length_exceeded" });
  await assert.rejects(ask([user(TOO_LONG)], { stream: true }), {
    status: 400,
    code: "context_length_exceeded",
  });
});

test("an aborted stream is cancelled", async () => {
  await cancels(async () => {
    const stream = await ask([user(FILMS)], {
      stream: true,
      logit_bias: ENDLESS_BIAS,
      max_tokens: ENDLESS_TOKENS,
    });
    for await (const _ of stream) break; // leaving the loop aborts it
  });
  await cancels(async () => {
    const signal = new AbortController();
    const fields = {
      model,
      messages: [user(FILMS)],
      logit_bias: ENDLESS_BIAS,
      max_tokens: ENDLESS_TOKENS,
    };
    const helper = client.chat.completions.stream(fields, { signal: signal.signal });
    helper.once("content", () => signal.abort());
    await assert.rejects(helper.done(), OpenAI.APIUserAbortError);
  });
});

test("plain completions stream what they say", async () => {
  const question = { model, prompt: "Hello", max_tokens: 4, temperature: 0 };
  const whole = await client.completions.create(question);
  let text = "";
  for await (const chunk of await client.completions.create({ ...question, stream: true }))
    text += chunk.choices[0].text;
  assert.equal(text, whole.choices[0].text);
  assert.ok(whole.usage.completion_tokens > 0);
});
