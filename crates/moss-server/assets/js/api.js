// Requests to the server. Every failure is a `Problem` of a known kind; the views choose its text.

import { events } from "./sse.js";

/** Time without any bytes, not even a comment, after which the server counts as disconnected. */
const SILENCE_MS = 60_000;

/** Error codes with a text in the page, for any status. Errors within a stream have no status. */
const KINDS = {
  context_length_exceeded: "window",
  queue_timeout: "queue",
  prompt_timeout: "prompt",
  shutting_down: "stopping",
  engine_failed: "engine",
};

/**
 * kind: "offline" (no connection) · "cut" (connection lost during the answer) · "silent" (no bytes) · "key" (401) · "busy" (429) ·
 * "starting" (503) · "queue", "prompt" (out of time before the first token) · "stopping" (shut down) · "engine" (failed permanently) ·
 * "window" (the conversation does not fit) · "refused" (any other 4xx) · "broken" (5xx, or an invalid response)
 */
export class Problem extends Error {
  constructor(kind, message = "", { status = null, param = null, retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { kind, status, param, retryAfter });
  }

  /** The form that is stored with an answer. */
  record() {
    const { kind, message, status, param, retryAfter } = this;
    return { kind, message, status, param, retryAfter };
  }
}

export class Api {
  /** `key()` returns the current API key, or an empty string. */
  constructor(base, key) {
    this.base = base;
    this.key = key;
  }

  /** `{ model, context_length, defaults, limits, version }`. */
  info(signal) {
    return this.#request("api/info", { signal }).then((response) => response.json());
  }

  /**
   * Streams one chat completion: yields the chunks, and null for each comment. Ends after `[DONE]`.
   * Aborting `signal` closes the connection, which stops the generation.
   */
  async *chat(body, signal) {
    const silence = new AbortController();
    let timer;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(new Problem("silent")), SILENCE_MS);
    };
    let begun = false;
    let finished = false;
    try {
      const response = await this.#request("v1/chat/completions", {
        method: "POST",
        headers: { "content-type": "application/json", accept: "text/event-stream" },
        body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
        signal: AbortSignal.any([signal, silence.signal]),
      });
      // The timer starts here: a queued request has no status yet, and the queue has its limit.
      alive();
      for await (const data of events(response.body)) {
        alive();
        if (data === "[DONE]") return;
        const chunk = data === null ? null : parse(data);
        begun ||= chunk !== null;
        finished ||= Boolean(chunk?.choices?.[0]?.finish_reason);
        yield chunk;
      }
      // A stream with a finish reason but without `[DONE]` is complete.
      if (!finished) throw new Problem("cut");
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (silence.signal.aborted) throw silence.signal.reason;
      if (error instanceof Problem) throw error;
      throw new Problem(begun ? "cut" : "offline", error.message);
    } finally {
      clearTimeout(timer);
    }
  }

  async #request(path, { headers, ...init }) {
    const key = this.key();
    let response;
    try {
      response = await fetch(new URL(path, this.base), {
        ...init,
        headers: { ...headers, ...(key && { authorization: `Bearer ${key}` }) },
        cache: "no-store",
        credentials: "omit",
      });
    } catch (error) {
      if (error.name === "AbortError" || init.signal?.aborted) throw error;
      throw new Problem("offline", error.message);
    }
    if (!response.ok) throw await problemOf(response);
    return response;
  }
}

function parse(data) {
  let chunk;
  try {
    chunk = JSON.parse(data);
  } catch {
    throw new Problem("broken", `not JSON: ${data.slice(0, 80)}`);
  }
  if (chunk.error) throw new Problem(kindOf(null, chunk.error), chunk.error.message, { param: chunk.error.param });
  return chunk;
}

async function problemOf(response) {
  const { status } = response;
  const text = await response.text().catch(() => "");
  let error = {};
  try {
    error = JSON.parse(text).error ?? {};
  } catch {
    // The body may be the page of a proxy. Only the status is used.
  }
  const retryAfter = Number.parseInt(response.headers.get("retry-after"), 10) || null;
  return new Problem(kindOf(status, error), error.message ?? "", { status, param: error.param ?? null, retryAfter });
}

function kindOf(status, error) {
  if (Object.hasOwn(KINDS, error.code ?? "")) return KINDS[error.code];
  if (status === 401 || status === 403) return "key";
  if (status === 429) return "busy";
  if (status === 503) return "starting";
  if (status !== null && status < 500) return "refused";
  return "broken";
}
