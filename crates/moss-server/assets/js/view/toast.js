// A short message at the bottom of the page, with at most one action.

import { h, icon } from "../dom.js";
import { t } from "../i18n.js";

const host = document.getElementById("toasts");
const STAYS_MS = 8000;

/** `stays`: shown until it is closed. A visible message is not repeated. */
export function toast(text, { action = null, stays = false } = {}) {
  if ([...host.children].some((shown) => shown.firstElementChild.textContent === text)) return;
  const close = () => box.remove();
  const box = h("div", { class: "toast" }, h("p", {}, text));
  if (action) box.append(h("button", { type: "button", class: "button", onclick: () => (close(), action.run()) }, action.label));
  box.append(h("button", { type: "button", class: "icon-button", "aria-label": t("close"), onclick: close }, icon("close")));
  host.append(box);
  if (stays) return;
  // The timer pauses while the pointer or the focus is on it.
  const leave = () => (box.matches(":hover, :focus-within") ? setTimeout(leave, 1000) : close());
  setTimeout(leave, STAYS_MS);
}
