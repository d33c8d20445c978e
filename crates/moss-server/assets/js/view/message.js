// A message: a question as plain text, an answer as Markdown, and their actions.

import { Reader, announce } from "../announcer.js";
import { h, icon } from "../dom.js";
import { languageOf, t } from "../i18n.js";
import { Markdown, copyButton } from "../markdown.js";
import { siblings } from "../tree.js";

const FINISHES = { length: "finish_length", max_tokens: "finish_length", time_limit: "finish_time", prompt_time_limit: "finish_prompt_time", window_full: "finish_window" };
const PATIENCE_S = 5;

/** Returns why an answer is truncated or empty, or null for a complete answer. */
function endOf(node) {
  if (node.role !== "assistant" || node.state !== "done") return null;
  return FINISHES[node.finish] ?? (node.text.trim() ? null : "finish_empty");
}

export class MessageView {
  #drawn = false;
  #reader = null;
  #beganAt = performance.now();

  constructor(node, chats, actions) {
    Object.assign(this, { node, chats, actions });
    this.body = h("div", { class: node.role === "user" ? "bubble" : "prose" });
    this.notice = h("p", { class: "note notice", role: "status" });
    this.note = h("div", { class: "note" });
    this.bar = h("div", { class: "message-bar" });
    this.element = h("article", { class: `message ${node.role}`, tabindex: "-1", "data-id": node.id }, this.notice, this.body, this.note, this.bar);
    if (node.role === "assistant") this.markdown = new Markdown(this.body);
    this.refresh();
  }

  /** Draws at most once per frame. */
  update() {
    if (this.#drawn) return;
    this.#drawn = true;
    requestAnimationFrame(() => {
      this.#drawn = false;
      this.refresh();
    });
  }

  refresh() {
    const { node } = this;
    const streaming = node.state === "streaming";
    this.element.setAttribute("aria-label", t(node.role === "user" ? "you" : "moss"));
    this.element.setAttribute("aria-busy", streaming);
    this.element.classList.toggle("streaming", streaming);
    this.body.lang = languageOf(node.text);
    if (this.markdown) this.markdown.show(node.text);
    else if (!this.editing) this.body.textContent = node.text;
    this.#read(streaming);
    this.#drawNotice();
    this.#drawNote(streaming);
    if (!this.editing) this.#drawBar(streaming);
  }

  #read(streaming) {
    if (streaming && !this.#reader) {
      this.#reader = new Reader();
      announce(t("announce_start"));
    }
    if (streaming) this.#reader.follow(this.node.text);
    else if (this.#reader) {
      this.#reader.finish(this.node.text);
      this.#reader = null;
      const { state } = this.node;
      // The error is a separate alert.
      if (state !== "failed") announce(t(state === "stopped" ? "announce_stopped" : (endOf(this.node) ?? "announce_done")));
    }
  }

  /** Shows before an answer how many messages were dropped. */
  #drawNotice() {
    const { dropped } = this.node;
    const text = dropped ? t(dropped === 1 ? "dropped_one" : "dropped", { n: dropped }) : "";
    if (this.notice.textContent !== text) this.notice.textContent = text;
  }

  #drawNote(streaming) {
    const { node } = this;
    if (streaming) {
      const dots = h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i"));
      if (node.text) this.note.replaceChildren();
      else if (!this.note.querySelector(".dots")) {
        const words = h("span", {}, t("thinking"));
        this.note.replaceChildren(dots, words);
        this.#wait(words);
      }
    } else if (node.state === "failed") this.#drawProblem(node.problem ?? { kind: "broken" });
    else if (node.state === "stopped") this.note.replaceChildren(t("was_stopped"));
    else if (endOf(node)) this.note.replaceChildren(t(endOf(node)));
    else this.note.replaceChildren();
  }

  /** Shows the waiting time after a while. */
  #wait(words) {
    const tick = () => {
      if (!words.isConnected) return;
      const seconds = Math.round((performance.now() - this.#beganAt) / 1000);
      if (seconds >= PATIENCE_S) words.textContent = t("waiting", { n: seconds });
      setTimeout(tick, 1000);
    };
    setTimeout(tick, 1000);
  }

  #drawProblem(problem) {
    if (this.note.querySelector(".problem")) return;
    const text = t(`problem_${problem.kind}`, { message: problem.message || t("no_details") });
    const retry = h("button", { type: "button", class: "button retry", onclick: () => this.actions.regenerate(this.node) }, icon("retry"), h("span", {}, t("retry")));
    const box = h("div", { class: "problem", role: "alert" }, icon("alert"), h("p", {}, text));
    if (problem.kind === "key") box.append(h("button", { type: "button", class: "button", onclick: () => this.actions.enterKey() }, t("enter_key")));
    box.append(retry);
    this.note.replaceChildren(box);
    if (problem.retryAfter) countDown(retry, problem.retryAfter);
  }

  #drawBar(streaming) {
    const { node, chats } = this;
    // Drawing again would remove the focus from a button.
    if (streaming) return void this.bar.replaceChildren();
    const versions = siblings(chats.current, node);
    const parts = [];
    if (versions.length > 1) parts.push(this.#switcher(versions));
    if (node.text) parts.push(copyButton("copy", () => node.text));
    if (node.role === "user") parts.push(button("edit", "edit", () => this.edit()));
    else if (node.state !== "failed") parts.push(button("regenerate", "retry", () => this.actions.regenerate(node)));
    if (node.stats?.tokens_per_s) parts.push(h("span", { class: "stats" }, statsText(node.stats)));
    const key = JSON.stringify([document.documentElement.lang, versions.map((version) => version.id), node.stats]);
    if (this.bar.dataset.key === key && this.bar.childElementCount) return;
    this.bar.dataset.key = key;
    this.bar.replaceChildren(...parts);
  }

  #switcher(versions) {
    const at = versions.indexOf(this.node);
    const step = (by, label, picture) => {
      const element = button(label, picture, () => this.actions.choose(versions[at + by], label));
      element.disabled = !versions[at + by];
      element.dataset.step = label;
      return element;
    };
    const where = h("span", { class: "version", "aria-hidden": "true" }, `${at + 1}/${versions.length}`);
    return h("span", { class: "switcher", role: "group", "aria-label": t("version", { n: at + 1, of: versions.length }) }, step(-1, "previous_version", "left"), where, step(1, "next_version", "right"));
  }

  edit() {
    if (this.chats.run()) return;
    this.editing = true;
    const area = h("textarea", { "aria-label": t("edit_label"), rows: "1" });
    area.value = this.node.text;
    const close = () => {
      this.editing = false;
      this.element.classList.remove("editing");
      this.refresh();
      this.bar.querySelector("[data-action=edit]")?.focus();
    };
    const send = () => {
      if (!area.value.trim()) return;
      this.editing = false;
      this.actions.resend(this.node, area.value.trim());
    };
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape") (event.stopPropagation(), close());
      else if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) (event.preventDefault(), send());
    });
    this.element.classList.add("editing");
    this.body.replaceChildren(area);
    this.bar.dataset.key = "";
    this.bar.replaceChildren(
      h("button", { type: "button", class: "button", onclick: close }, t("cancel")),
      h("button", { type: "button", class: "button primary", onclick: send }, t("save_send")),
    );
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }
}

function button(label, picture, onclick) {
  return h("button", { type: "button", class: "icon-button", "aria-label": t(label), title: t(label), "data-action": label, onclick }, icon(picture));
}

function statsText({ prompt_tokens, completion_tokens, cached_tokens, tokens_per_s, time_to_first_token_s }) {
  const rate = tokens_per_s.toFixed(tokens_per_s < 100 ? 1 : 0);
  if (completion_tokens === undefined || time_to_first_token_s === undefined) return t("stats_short", { rate });
  const text = t("stats", { tokens: completion_tokens, rate, first: time_to_first_token_s.toFixed(time_to_first_token_s < 10 ? 2 : 0) });
  return cached_tokens ? text + t("stats_cached", { cached: cached_tokens, prompt: prompt_tokens }) : text;
}

function countDown(retry, seconds) {
  const words = retry.querySelector("span");
  const until = performance.now() + seconds * 1000;
  const tick = () => {
    const left = Math.ceil((until - performance.now()) / 1000);
    retry.disabled = left > 0;
    words.textContent = left > 0 ? t("retry_in", { n: left }) : t("retry");
    if (left > 0 && retry.isConnected) setTimeout(tick, 250);
  };
  retry.disabled = true;
  setTimeout(tick);
}
