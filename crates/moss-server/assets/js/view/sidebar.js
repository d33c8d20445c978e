// The list of conversations: search, open, rename, export, delete. On a narrow screen it covers the page.

import * as archive from "../archive.js";
import { download, h, icon } from "../dom.js";
import { t } from "../i18n.js";
import { toast } from "./toast.js";

const DAY_MS = 86_400_000;
const narrow = matchMedia("(max-width: 48rem)");

export class SidebarView {
  #menuFor = null;

  constructor(chats, settings, { focusComposer }) {
    Object.assign(this, { chats, settings, focusComposer });
    this.element = document.getElementById("sidebar");
    this.list = document.getElementById("conversation-list");
    this.search = document.getElementById("search");
    this.menu = document.getElementById("conversation-menu");
    this.toggle = document.getElementById("toggle-list");
    this.search.addEventListener("input", () => this.redraw());
    this.toggle.addEventListener("click", () => this.show(!this.shown));
    document.getElementById("scrim").addEventListener("click", () => this.show(false));
    this.element.addEventListener("keydown", (event) => event.key === "Escape" && narrow.matches && this.show(false));
    document.getElementById("new-chat").addEventListener("click", () => {
      chats.start();
      this.#leave();
    });
    for (const action of ["rename", "export", "delete"]) this.menu.querySelector(`[data-do=${action}]`).addEventListener("click", () => this.#do(action));
    narrow.addEventListener("change", () => this.show(!narrow.matches && settings.get("list"), false));
    chats.addEventListener("list", () => this.redraw());
    this.show(!narrow.matches && settings.get("list"), false);
    this.redraw();
  }

  get shown() {
    return !this.element.hidden;
  }

  show(shown, byHand = true) {
    this.element.hidden = !shown;
    document.body.classList.toggle("list-shown", shown);
    // While it covers the page, only the list can be focused.
    document.getElementById("main").inert = shown && narrow.matches;
    this.toggle.setAttribute("aria-expanded", shown);
    this.toggle.dataset.tLabel = this.toggle.dataset.tTitle = shown ? "close_list" : "open_list";
    this.toggle.setAttribute("aria-label", t(this.toggle.dataset.tLabel));
    this.toggle.title = t(this.toggle.dataset.tTitle);
    if (!byHand) return;
    if (!narrow.matches) this.settings.set("list", shown);
    if (shown) this.search.focus();
    else this.toggle.focus();
  }

  focusSearch() {
    this.show(true);
    this.search.select();
  }

  redraw() {
    if (this.list.querySelector(".renaming")) return;
    const focused = document.activeElement?.closest?.("[data-conversation]")?.dataset.conversation;
    const query = this.search.value.trim();
    const found = this.chats.list(query);
    const groups = new Map();
    for (const conversation of found) {
      const age = ageOf(conversation.updated);
      groups.set(age, [...(groups.get(age) ?? []), conversation]);
    }
    const parts = [...groups].map(([age, conversations]) =>
      h("section", {}, h("h3", {}, t(age)), h("ul", {}, conversations.map((conversation) => this.#row(conversation)))),
    );
    if (!found.length) parts.push(h("p", { class: "empty" }, query ? t("none_found", { query }) : t("none_yet")));
    this.list.replaceChildren(...parts);
    if (focused) this.list.querySelector(`[data-conversation="${focused}"] .open`)?.focus({ preventScroll: true });
  }

  #row(conversation) {
    const here = conversation.id === this.chats.current.id;
    const title = titleOf(conversation);
    const open = h("button", { type: "button", class: "open", "aria-current": here && "true", title, onclick: () => (this.chats.open(conversation), this.#leave()) }, h("span", { class: "title" }, title));
    if (this.chats.run(conversation)) open.append(h("span", { class: "pulse", role: "img", "aria-label": t("answering_mark") }));
    const more = h("button", { type: "button", class: "icon-button more", "aria-label": t("actions_for", { title }), "aria-expanded": "false", "aria-controls": this.menu.id, onclick: () => this.#openMenu(conversation, more) }, icon("more"));
    return h("li", { "data-conversation": conversation.id, class: here && "here" }, open, more);
  }

  #openMenu(conversation, anchor) {
    this.#menuFor = conversation;
    this.menu.setAttribute("aria-label", anchor.getAttribute("aria-label"));
    this.menu.showPopover();
    anchor.setAttribute("aria-expanded", "true");
    this.menu.addEventListener("beforetoggle", () => anchor.setAttribute("aria-expanded", "false"), { once: true });
    const { right, bottom } = anchor.getBoundingClientRect();
    this.menu.style.left = `${Math.max(8, Math.min(right - this.menu.offsetWidth, innerWidth - this.menu.offsetWidth - 8))}px`;
    this.menu.style.top = `${Math.min(bottom + 4, innerHeight - this.menu.offsetHeight - 8)}px`;
    this.menu.querySelector("button").focus();
  }

  #do(action) {
    const conversation = this.#menuFor;
    this.menu.hidePopover();
    if (action === "rename") this.#rename(conversation);
    else if (action === "export") download(fileName(titleOf(conversation)), archive.write([conversation]));
    else {
      const bringBack = this.chats.remove(conversation);
      toast(t("deleted", { title: titleOf(conversation) }), { action: { label: t("undo"), run: bringBack } });
      (this.list.querySelector(".open") ?? document.getElementById("new-chat")).focus();
    }
  }

  #rename(conversation) {
    const row = this.list.querySelector(`[data-conversation="${conversation.id}"]`);
    const field = h("input", { class: "renaming", "aria-label": t("rename_label"), maxlength: "120" });
    field.value = titleOf(conversation);
    const end = (keep) => {
      field.removeEventListener("blur", blurred);
      const title = field.value.trim();
      field.remove();
      if (keep && title) this.chats.rename(conversation, title);
      this.redraw();
      this.list.querySelector(`[data-conversation="${conversation.id}"] .open`)?.focus();
    };
    const blurred = () => end(true);
    field.addEventListener("blur", blurred);
    field.addEventListener("keydown", (event) => {
      if (event.isComposing || event.keyCode === 229) return;
      if (event.key === "Enter") end(true);
      if (event.key === "Escape") (event.stopPropagation(), end(false));
    });
    row.replaceChildren(field);
    field.select();
  }

  #leave() {
    if (narrow.matches) this.show(false, false);
    this.focusComposer();
  }
}

export function titleOf(conversation) {
  return conversation.title || t("untitled");
}

export function fileName(title) {
  const day = new Date().toISOString().slice(0, 10);
  return `moss-${title.replace(/[^\p{Letter}\p{Number}]+/gu, "-").slice(0, 40)}-${day}.json`;
}

function ageOf(when) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (when >= midnight) return "today";
  if (when >= midnight - DAY_MS) return "yesterday";
  return when >= midnight - 6 * DAY_MS ? "this_week" : "older";
}
