// A streaming answer: writes the server's reply to a node until it ends, fails or is stopped.

import { Problem } from "./api.js";

export class Run {
  #abort = new AbortController();

  /** `changed()` is called whenever `node` has changed. */
  constructor(node, changed) {
    Object.assign(node, { state: "streaming", text: "" });
    this.node = node;
    this.changed = changed;
    /** Number of text pieces, which approximates the number of tokens. */
    this.pieces = 0;
    this.firstPieceAt = null;
  }

  stop() {
    this.#abort.abort(new DOMException("stopped", "AbortError"));
  }

  /** Tokens per second, or null before the first ones. */
  liveRate(now = performance.now()) {
    const seconds = (now - this.firstPieceAt) / 1000;
    return this.firstPieceAt !== null && this.pieces > 1 && seconds > 0.2 ? (this.pieces - 1) / seconds : null;
  }

  /** Never throws. An error is stored in the node, with the partial text. */
  async finish(api, body) {
    const { node } = this;
    const askedAt = performance.now();
    try {
      for await (const chunk of api.chat(body, this.#abort.signal)) {
        if (chunk) this.#take(chunk, askedAt);
      }
      node.state = "done";
    } catch (error) {
      if (this.#abort.signal.aborted) node.state = "stopped";
      else {
        node.state = "failed";
        node.problem = (error instanceof Problem ? error : new Problem("broken", String(error))).record();
      }
    }
    if (!node.stats && this.pieces) {
      node.stats = { tokens_per_s: this.liveRate(), time_to_first_token_s: (this.firstPieceAt - askedAt) / 1000 };
    }
    this.changed();
  }

  #take(chunk, askedAt) {
    const { node } = this;
    const choice = chunk.choices?.[0];
    const piece = choice?.delta?.content;
    if (piece) {
      this.firstPieceAt ??= performance.now();
      this.pieces += 1;
      node.text += piece;
    }
    if (choice?.finish_reason) node.finish = choice.finish_reason;
    if (chunk.moss?.stop_reason) node.finish = chunk.moss.stop_reason;
    if (chunk.moss?.dropped_messages) node.dropped = chunk.moss.dropped_messages;
    if (chunk.usage || chunk.moss?.stop_reason) {
      node.stats = {
        prompt_tokens: chunk.usage?.prompt_tokens,
        completion_tokens: chunk.usage?.completion_tokens,
        cached_tokens: chunk.usage?.prompt_tokens_details?.cached_tokens,
        time_to_first_token_s: chunk.moss?.time_to_first_token_s ?? (this.firstPieceAt ? (this.firstPieceAt - askedAt) / 1000 : undefined),
        tokens_per_s: chunk.moss?.tokens_per_s ?? this.liveRate() ?? undefined,
      };
    }
    this.changed();
  }
}
