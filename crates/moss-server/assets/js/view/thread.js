// The messages of the open conversation, or the greeting.

import { h, icon } from "../dom.js";
import { t } from "../i18n.js";
import { MessageView } from "./message.js";

const EXAMPLES = ["example_1", "example_2", "example_3", "example_4"];
/** Distance from the end within which the view follows a streaming answer. */
const NEAR_PX = 80;

export class ThreadView {
  #views = new Map(); // node id -> MessageView
  #following = true;

  constructor(chats, { enterKey, focusComposer, send }) {
    Object.assign(this, { chats, focusComposer, send });
    this.scroller = document.getElementById("thread");
    this.host = document.getElementById("messages");
    this.greeting = document.getElementById("greeting");
    this.toLatest = document.getElementById("to-latest");
    this.toLatest.append(icon("down"));
    this.actions = {
      enterKey,
      regenerate: (node) => {
        if (chats.run()) return;
        chats.regenerate(node);
        this.#focusLast();
      },
      resend: (node, text) => {
        chats.edit(node, text);
        this.focusComposer();
      },
      choose: (node, label) => {
        chats.choose(node);
        const bar = this.#views.get(node.id).bar;
        (bar.querySelector(`[data-step=${label}]:enabled`) ?? bar.querySelector("[data-step]:enabled")).focus();
      },
    };
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.toLatest.addEventListener("click", () => {
      this.#toEnd();
      this.focusComposer();
    });
    chats.addEventListener("open", () => this.#reopen());
    chats.addEventListener("thread", () => this.#draw(true));
    chats.addEventListener("node", ({ detail }) => this.#views.get(detail.id)?.update());
    new ResizeObserver(() => this.#following && this.#toEnd()).observe(this.host);
    this.#draw(true);
  }

  /** Draws in another language. */
  redraw() {
    this.#views.clear();
    this.#draw(false);
  }

  editLast() {
    const last = this.chats.path().findLast((node) => node.role === "user");
    if (last) this.#views.get(last.id).edit();
  }

  #reopen() {
    this.#views.clear();
    this.#draw(true);
  }

  #draw(toEnd) {
    const shown = this.chats.path();
    const ids = new Set(shown.map((node) => node.id));
    for (const id of this.#views.keys()) if (!ids.has(id)) this.#views.delete(id);
    const elements = shown.map((node) => {
      const view = this.#views.get(node.id) ?? new MessageView(node, this.chats, this.actions);
      view.node = node;
      this.#views.set(node.id, view);
      if (!view.editing) view.refresh();
      return view.element;
    });
    // Only misplaced elements are moved, because moving an element removes its focus.
    for (const child of [...this.host.children]) if (!elements.includes(child)) child.remove();
    elements.forEach((element, index) => {
      if (this.host.children[index] !== element) this.host.insertBefore(element, this.host.children[index] ?? null);
    });
    this.greeting.hidden = shown.length > 0;
    if (!shown.length) this.#greet();
    if (toEnd) this.#toEnd();
  }

  #greet() {
    const examples = EXAMPLES.map((key) => h("li", {}, h("button", { type: "button", class: "example", onclick: () => this.send(t(key)) }, t(key))));
    document.getElementById("examples").replaceChildren(...examples);
  }

  #focusLast() {
    this.host.lastElementChild?.focus({ preventScroll: true });
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.#following = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    this.toLatest.hidden = this.#following;
  }

  #toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.#scrolled();
  }
}
