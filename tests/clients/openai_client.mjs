// The official JavaScript client against a running server: `node openai_client.mjs http://127.0.0.1:8888/v1`.
// Modules are found from MODULES, a folder with node_modules in it.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const OpenAI = createRequire(process.env.MODULES + "/")("openai").OpenAI;
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "any", maxRetries: 0 });
const model = (await client.models.list()).data[0].id;
const question = { model, messages: [{ role: "user", content: "What is 3 + 4?" }], temperature: 0 };
const expected = "3 + 4 = 7.";

const whole = await client.chat.completions.create(question);
assert.equal(whole.choices[0].message.content, expected);
assert.equal(whole.choices[0].finish_reason, "stop");

let text = "";
let usage;
const options = { stream: true, stream_options: { include_usage: true } };
for await (const chunk of await client.chat.completions.create({ ...question, ...options })) {
  text += chunk.choices[0]?.delta.content ?? "";
  usage = chunk.usage ?? usage;
}
assert.equal(text, expected);
assert.deepEqual(usage, whole.usage);

const helper = client.chat.completions.stream(question);
assert.equal(await helper.finalContent(), expected);

const older = await client.completions.create({ model, prompt: "Hello", max_tokens: 4, temperature: 0 });
assert.equal(older.usage.completion_tokens > 0, true);

await assert.rejects(client.chat.completions.create({ ...question, tools: [{ type: "function", function: { name: "f" } }] }), (error) => {
  assert.equal(error.status, 400);
  assert.equal(error.param, "tools");
  return true;
});

const abandoned = await client.chat.completions.create({ ...question, stream: true });
abandoned.controller.abort();
console.log("openai for JavaScript: as expected");
