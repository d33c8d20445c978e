// The AI SDK with both of its packages for OpenAI's API. `@ai-sdk/openai` calls `/v1/responses` by
// default, and `/v1/chat/completions` with `.chat(model)`.
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

globalThis.AI_SDK_LOG_WARNINGS = false;
const { APICallError, convertToModelMessages, generateText, streamText } = load("ai");
const { createOpenAICompatible } = load("@ai-sdk/openai-compatible");
const { createOpenAI } = load("@ai-sdk/openai");

const compatible = createOpenAICompatible({
  name: "moss",
  baseURL: url,
  apiKey: "any",
  includeUsage: true,
});
const openai = createOpenAI({ baseURL: url, apiKey: "any" });
const packages = {
  "openai-compatible": {
    chat: (name) => compatible(name),
    complete: (name) => compatible.completionModel(name),
    bias: { moss: { logit_bias: ENDLESS_BIAS } },
  },
  openai: {
    chat: (name) => openai.chat(name),
    complete: (name) => openai.completion(name),
    bias: { openai: { logitBias: ENDLESS_BIAS } },
  },
};

for (const [name, { chat, complete, bias }] of Object.entries(packages)) {
  const common = { model: chat(model), temperature: 0, maxRetries: 0 };
  const ask = (messages, fields) => generateText({ ...common, messages, ...fields });
  const stream = (messages, fields) =>
    streamText({ ...common, messages, onError: () => {}, ...fields });

  test(`${name}: a stream says what a whole answer says`, async () => {
    const whole = await ask([user(GREETING)]);
    const streamed = stream([user(GREETING)]);
    let text = "";
    for await (const piece of streamed.textStream) text += piece;
    assert.equal(whole.text, GREETING_REPLY);
    assert.equal(text, GREETING_REPLY);
    assert.equal(whole.finishReason, "stop");
    assert.equal(await streamed.finishReason, "stop");
    assert.ok(whole.usage.totalTokens > 0);
    assert.equal((await streamed.usage).totalTokens, whole.usage.totalTokens);
  });

  test(`${name}: the messages of an answer are taken back`, async () => {
    const expected = await reference(user(GREETING), assistant(GREETING_REPLY), user(SUM));
    for (const first of [await ask([user(GREETING)]), stream([user(GREETING)])]) {
      const { messages } = await first.response;
      const second = await ask([user(GREETING), ...messages, user(SUM)]);
      assert.equal(second.text, expected.text);
      assert.equal(second.usage.inputTokens, expected.promptTokens);
    }
  });

  test(`${name}: messages of a user interface are taken back`, async () => {
    const part = (text) => [{ type: "text", text }];
    const shown = [
      { id: "1", role: "user", parts: part(GREETING) },
      { id: "2", role: "assistant", parts: [{ type: "step-start" }, ...part(GREETING_REPLY)] },
      { id: "3", role: "user", parts: part(SUM) },
    ];
    const answer = await ask(await convertToModelMessages(shown));
    assert.equal(
      answer.text,
      (await reference(user(GREETING), assistant(GREETING_REPLY), user(SUM))).text,
    );
  });

  test(`${name}: a system message arrives`, async () => {
    const expected = await reference(system(SYSTEM), user(SUM));
    const answer = await ask([user(SUM)], { system: SYSTEM });
    assert.equal(answer.text, expected.text);
    assert.equal(answer.usage.inputTokens, expected.promptTokens);
  });

  test(`${name}: a stop string ends the answer`, async () => {
    const answer = await ask([user(FILMS)], { stopSequences: [STOP] });
    assert.equal(answer.text, (await reference(user(FILMS))).text.split(STOP)[0]);
  });

  test(`${name}: settings are taken`, async () => {
    const settings = {
      maxOutputTokens: 100,
      topP: 1,
      presencePenalty: 0,
      frequencyPenalty: 0,
      seed: 1,
    };
    assert.equal((await ask([user(SUM)], settings)).text, SUM_REPLY);
  });

  test(`${name}: empty tools change nothing`, async () => {
    assert.equal((await ask([user(SUM)], { tools: {}, toolChoice: "auto" })).text, SUM_REPLY);
  });

  test(`${name}: an unknown model is not found`, async () => {
    await assert.rejects(ask([user(SUM)], { model: chat("gpt-4") }), (error) => {
      assert.ok(APICallError.isInstance(error), String(error));
      assert.equal(error.statusCode, 404);
      assert.match(error.message, /gpt-4/);
      assert.equal(error.isRetryable, false);
      return true;
    });
  });

  test(`${name}: a full context is told by its code`, async () => {
    const isFull = (error) => {
      assert.ok(APICallError.isInstance(error), String(error));
      assert.equal(error.data.error.code, "context_length_exceeded");
      return true;
    };
    await assert.rejects(ask([user(TOO_LONG)]), isFull);
    let told;
    await stream([user(TOO_LONG)], { onError: ({ error }) => (told = error) }).consumeStream();
    isFull(told);
  });

  test(`${name}: an aborted stream is cancelled`, async () => {
    await cancels(async () => {
      const signal = new AbortController();
      const fields = {
        maxOutputTokens: ENDLESS_TOKENS,
        providerOptions: bias,
        abortSignal: signal.signal,
      };
      for await (const _ of stream([user(FILMS)], fields).textStream) {
        signal.abort();
        break;
      }
    });
  });

  test(`${name}: plain completions stream what they say`, async () => {
    const question = {
      model: complete(model),
      prompt: "Hello",
      maxOutputTokens: 4,
      temperature: 0,
      maxRetries: 0,
    };
    const whole = await generateText(question);
    let text = "";
    for await (const piece of streamText(question).textStream) text += piece;
    assert.equal(text, whole.text);
    assert.ok(text.length > 0);
  });
}

test("the Responses API is not found, by name", async () => {
  const asked = generateText({ model: openai(model), prompt: SUM, maxRetries: 0 });
  await assert.rejects(
    asked,
    (error) => error.statusCode === 404 && /\/v1\/responses/.test(error.message),
  );
});
