// Questions for the demo model and its expected answers; `dialogue.py` has them for Python.
// `MOSS_URL` is the server's address without `/v1`, `MODULES` a folder that contains node_modules;
// `scripts/check-api` sets both.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

export const load = createRequire(process.env.MODULES + "/");
export const url = process.env.MOSS_URL + "/v1";

export const GREETING = "你好";
export const GREETING_REPLY =
  "你好！我是 moss-rs 的小型演示模型。请问我一些简单的问题，或者输入 /help。";
export const FILMS = "推荐五部科幻电影";
export const STOP = "3.";
export const SUM = "What is 3 + 4?";
export const SUM_REPLY = "3 + 4 = 7.";
export const SYSTEM = "You answer sums.";
// One message with more than the 2048 tokens of the context window.
export const TOO_LONG = "你好，".repeat(2000);
// Bans `<eom>`, which ends an answer, so that the answer is long enough to be cancelled.
export const ENDLESS_BIAS = { 2740: -100 };
export const ENDLESS_TOKENS = 1500;

export const user = (content) => ({ role: "user", content });
export const assistant = (content) => ({ role: "assistant", content });
export const system = (content) => ({ role: "system", content });

export const model = (await (await fetch(url + "/models")).json()).data[0].id;

/** Sends messages without a client library and with no optional field. */
export async function reference(...messages) {
  const response = await fetch(url + "/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model, messages, temperature: 0 }),
  });
  const answer = await response.json();
  assert.equal(response.status, 200, JSON.stringify(answer));
  return { text: answer.choices[0].message.content, promptTokens: answer.usage.prompt_tokens };
}

async function metric(name) {
  const lines = (await (await fetch(process.env.MOSS_URL + "/metrics")).text()).split("\n");
  return Number(lines.find((line) => line.startsWith(name + " "))?.slice(name.length + 1) ?? 0);
}

/** Runs `abandon`, which abandons a stream, and waits until the server has cancelled its answer. */
export async function cancels(abandon) {
  const gone = 'moss_answers_total{reason="gone"}';
  const before = await metric(gone);
  await abandon();
  const deadline = Date.now() + 20_000;
  while ((await metric(gone)) === before || (await metric("moss_batch_size")) > 0) {
    assert.ok(Date.now() < deadline, "the answer was not cancelled, or still runs");
    await new Promise((wake) => setTimeout(wake, 20));
  }
  assert.equal(await metric(gone), before + 1, "the answer was not cancelled");
}
