// All conversations, the open one, and the streaming answers. Events for the views:
// "list" (titles, order, who is answering), "open" (another conversation), "thread" (its messages), "amend" (its system text, plugins or draft), "node" (one of them has
// grown; detail: node), "trouble" (saving failed; detail: the browser's error).

import { newId } from "./dom.js";
import { Run } from "./run.js";
import { requestFields } from "./sampling.js";
import * as tree from "./tree.js";

/** Interval at which a streaming answer is saved. */
const SAVE_EVERY_MS = 1000;

export class Chats extends EventTarget {
  #all = new Map();
  #runs = new Map(); // conversation id -> Run
  #saves = new Map(); // conversation id -> timer
  #news = new BroadcastChannel("moss.conversations");

  constructor(store, api, settings) {
    super();
    Object.assign(this, { store, api, settings, info: null });
    this.current = this.#fresh();
    this.#news.onmessage = ({ data }) => this.#heard(data);
    // A closing page saves its state. A streaming answer counts as stopped when the page is opened again.
    addEventListener("pagehide", () => [...this.#saves.keys()].forEach((id) => this.#saveNow(id)));
  }

  async load() {
    for (const conversation of await this.store.all()) {
      for (const node of conversation.nodes) {
        if (node.state === "streaming") Object.assign(node, { state: "failed", problem: { kind: "cut" } });
      }
      this.#all.set(conversation.id, conversation);
    }
    this.#tell("list");
  }

  /** Returns conversations, newest first, that contain every word of `query` in title or messages. */
  list(query = "") {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const has = (conversation) => {
      const text = [conversation.title, ...conversation.nodes.map((node) => node.text)].join("\n").toLowerCase();
      return words.every((word) => text.includes(word));
    };
    return [...this.#all.values()].filter(has).sort((a, b) => b.updated - a.updated);
  }

  get(id) {
    return this.#all.get(id);
  }

  /** Returns the visible messages of the open conversation. */
  path() {
    return tree.path(this.current);
  }

  run(conversation = this.current) {
    return this.#runs.get(conversation.id) ?? null;
  }

  // Conversations

  start() {
    this.open(this.#fresh());
  }

  open(conversation) {
    this.current = conversation;
    this.#tell("open");
    this.#tell("list");
  }

  rename(conversation, title) {
    Object.assign(conversation, { title, named: true });
    this.#changed(conversation, "list");
  }

  /** Returns a function that restores it. */
  remove(conversation) {
    this.run(conversation)?.stop();
    this.#all.delete(conversation.id);
    this.#write(this.store.remove(conversation.id), conversation.id);
    if (conversation === this.current) this.start();
    else this.#tell("list");
    return () => {
      this.#changed(conversation, "list");
      this.open(conversation);
    };
  }

  removeAll() {
    for (const run of this.#runs.values()) run.stop();
    this.#all.clear();
    this.#write(this.store.clear(), null);
    this.start();
  }

  /** Imports checked conversations. One that exists with other messages is added under a new id. */
  async import(conversations) {
    const fresh = conversations.filter((conversation) => {
      const here = this.#all.get(conversation.id);
      if (here && JSON.stringify(here.nodes.map((node) => node.id)) === JSON.stringify(conversation.nodes.map((node) => node.id))) return false;
      if (here) conversation.id = newId();
      return true;
    });
    await this.store.putAll(fresh);
    for (const conversation of fresh) this.#all.set(conversation.id, conversation);
    this.#tell("list");
    this.#news.postMessage(null);
    if (fresh.length) this.open(fresh[0]);
    return fresh.length;
  }

  /** Sets system prompt, plugins and draft of the open conversation. The next conversation starts with the first two. */
  amend(changes) {
    Object.assign(this.current, changes);
    for (const name of ["system", "plugins"]) if (name in changes) this.settings.set(name, changes[name]);
    if (this.#all.has(this.current.id)) this.#save(this.current);
    this.#tell("amend");
  }

  // Messages

  send(text) {
    this.#ask(tree.append(this.current, this.path().at(-1) ?? null, "user", text));
  }

  /** Adds a new version of a question and an answer. The old ones stay as a branch. */
  edit(question, text) {
    this.#ask(tree.append(this.current, tree.parentOf(this.current, question), "user", text));
  }

  /** Adds another answer to the same question. An answer that never started is replaced. */
  regenerate(answer) {
    const { current } = this;
    const question = tree.parentOf(current, answer);
    if (!answer.text) current.nodes = current.nodes.filter((node) => node !== answer || current.nodes.some((child) => child.parent === answer.id));
    return this.#ask(question);
  }

  choose(node) {
    tree.choose(this.current, node);
    this.#changed(this.current, "thread");
  }

  stop() {
    this.run()?.stop();
  }

  /** Requests an answer to `question` in the open conversation. The user may open another one in the meantime. */
  #ask(question) {
    const conversation = this.current;
    if (this.run(conversation)) return;
    this.#all.set(conversation.id, conversation);
    const node = tree.append(conversation, question, "assistant", "");
    const body = {
      ...(this.info?.model && { model: this.info.model }),
      messages: tree.promptMessages(conversation, question),
      ...requestFields(this.info, this.settings.get("sampling"), conversation.plugins),
    };
    const run = new Run(node, () => {
      if (node.state !== "streaming") this.#runs.delete(conversation.id);
      if (this.#all.has(conversation.id)) this.#save(conversation);
      this.dispatchEvent(new CustomEvent("node", { detail: node }));
      if (node.state !== "streaming") this.#tell("list");
    });
    this.#runs.set(conversation.id, run);
    this.#changed(conversation, "thread");
    this.#saveNow(conversation.id);
    this.#tell("list");
    run.finish(this.api, body);
  }

  // Keeping

  #fresh() {
    return tree.newConversation({ system: this.settings.get("system"), plugins: this.settings.get("plugins") });
  }

  #changed(conversation, event) {
    this.#all.set(conversation.id, conversation);
    this.#save(conversation);
    if (event) this.#tell(event);
  }

  /** Saves within a second, and immediately at the end of an answer. */
  #save({ id }) {
    if (!this.#runs.has(id)) this.#saveNow(id);
    else if (!this.#saves.has(id)) this.#saves.set(id, setTimeout(() => this.#saveNow(id), SAVE_EVERY_MS));
  }

  #saveNow(id) {
    clearTimeout(this.#saves.get(id));
    this.#saves.delete(id);
    const conversation = this.#all.get(id);
    if (conversation) this.#write(this.store.put(conversation), id);
  }

  async #write(promise, id) {
    try {
      await promise;
      this.#news.postMessage(id);
    } catch (error) {
      this.dispatchEvent(new CustomEvent("trouble", { detail: error }));
    }
  }

  /** Loads changes of another tab, except for conversations with an answer that streams here. */
  async #heard(id) {
    if (id && this.#runs.has(id)) return;
    const all = new Map((await this.store.all()).map((conversation) => [conversation.id, conversation]));
    for (const busy of this.#runs.keys()) if (this.#all.has(busy)) all.set(busy, this.#all.get(busy));
    this.#all = all;
    const here = all.get(this.current.id);
    if (here && here !== this.current && !this.run()) {
      here.draft = this.current.draft;
      this.current = here;
      this.#tell("thread");
    }
    this.#tell("list");
  }

  #tell(event) {
    this.dispatchEvent(new Event(event));
  }
}
