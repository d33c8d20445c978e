// The input for messages, with a button that sends or stops, and the meter below.

import { icon } from "../dom.js";
import { t } from "../i18n.js";
import { contextTokens } from "../meter.js";
import { PLUGINS, hasPlugins } from "../sampling.js";

const SAVE_DRAFT_MS = 500;
/** The used part of the context window from which the meter warns. */
const NEARLY_FULL = 0.85;

export class ComposerView {
  #draftTimer = null;

  constructor(chats, { editLast, openSettings }) {
    Object.assign(this, { chats, editLast });
    this.area = document.getElementById("message");
    this.button = document.getElementById("send");
    this.meter = document.getElementById("meter");
    this.meterText = document.getElementById("meter-text");
    this.rate = document.getElementById("rate");
    this.plugins = document.getElementById("plugins-on");
    this.plugins.addEventListener("click", openSettings);
    document.getElementById("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      if (chats.run()) chats.stop();
      else this.submit();
    });
    this.area.addEventListener("keydown", (event) => this.#key(event));
    this.area.addEventListener("input", () => this.#typed());
    for (const event of ["open", "thread", "list", "node", "amend"]) chats.addEventListener(event, () => this.refresh(event));
    this.refresh("open");
  }

  focus() {
    this.area.focus({ preventScroll: true });
  }

  submit(text = this.area.value) {
    if (this.chats.run() || !text.trim()) return;
    clearTimeout(this.#draftTimer);
    this.area.value = "";
    this.chats.amend({ draft: "" });
    this.chats.send(text.trim());
    this.focus();
    this.#grow();
  }

  refresh(event) {
    if (event === "open") {
      this.area.value = this.chats.current.draft;
      this.#grow();
    }
    const run = this.chats.run();
    const label = t(run ? "stop" : "send");
    if (this.button.dataset.mode !== (run ? "stop" : "send")) {
      this.button.dataset.mode = run ? "stop" : "send";
      this.button.replaceChildren(run ? stopSign() : icon("send"));
    }
    this.button.setAttribute("aria-label", label);
    this.button.title = label;
    const idle = !run && !this.area.value.trim();
    // A disabled button would lose the focus, so Stop becomes Send when the answer ends.
    if (idle && document.activeElement === this.button) this.focus();
    this.button.disabled = idle;
    const rate = run?.liveRate();
    this.rate.textContent = rate ? t("rate", { n: rate.toFixed(rate < 100 ? 1 : 0) }) : "";
    this.#drawMeter();
    const on = PLUGINS.filter((name) => this.chats.current.plugins[name]).length;
    this.plugins.hidden = on === 0 || !hasPlugins(this.chats.info);
    this.plugins.textContent = on === 1 ? t("plugins_on_one") : t("plugins_on", { n: on });
  }

  #drawMeter() {
    const of = this.chats.info?.context_length;
    this.meter.parentElement.hidden = !of;
    if (!of) return;
    const { tokens, exact } = contextTokens(this.chats.path(), this.chats.current.system, this.area.value);
    const text = t(exact ? "context" : "context_about", { n: tokens, of });
    this.meter.max = of;
    this.meter.value = Math.min(tokens, of);
    this.meter.classList.toggle("nearly-full", tokens > of * NEARLY_FULL);
    this.meter.setAttribute("aria-valuetext", text);
    this.meterText.textContent = text;
  }

  #key(event) {
    // Enter that selects a word in a Chinese input method must not send; Safari reports it only as key 229.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.submit();
    } else if (event.key === "ArrowUp" && !this.area.value) {
      event.preventDefault();
      this.editLast();
    }
  }

  #typed() {
    this.#grow();
    this.refresh();
    this.chats.current.draft = this.area.value;
    clearTimeout(this.#draftTimer);
    this.#draftTimer = setTimeout(() => this.chats.amend({}), SAVE_DRAFT_MS);
  }

  /** For browsers that cannot size the field by its content. */
  #grow() {
    if (CSS.supports("field-sizing", "content")) return;
    this.area.style.height = "auto";
    this.area.style.height = `${this.area.scrollHeight}px`;
  }
}

function stopSign() {
  const sign = document.createElement("span");
  sign.className = "stop-sign";
  return sign;
}
