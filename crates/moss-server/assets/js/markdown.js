// Renders model output as Markdown. Three protections: the parser treats raw HTML as text, the sanitizer removes all elements
// that are not listed, and the page's policy blocks inline scripts.

import markdownIt from "../vendor/markdown-it.min.js";
import cjkFriendly from "../vendor/markdown-it-cjk-friendly.min.js";
import DOMPurify from "../vendor/dompurify.min.js";
import hljs from "../vendor/highlight.min.js";
import { announce } from "./announcer.js";
import { copyText, h, icon } from "./dom.js";
import { t } from "./i18n.js";

const CLEAN = {
  ALLOWED_TAGS: "a blockquote br code del em h1 h2 h3 h4 h5 h6 hr li ol p pre s span strong table tbody td th thead tr ul".split(" "),
  ALLOWED_ATTR: ["class", "href", "start", "title"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

const parser = markdownIt({ html: false, linkify: true, breaks: true, highlight }).use(cjkFriendly);
// The policy blocks images of other origins, so an image becomes a link.
parser.renderer.rules.image = (tokens, index, options, env, renderer) => {
  const address = parser.utils.escapeHtml(tokens[index].attrGet("src"));
  return `<a href="${address}">${renderer.renderInlineAsText(tokens[index].children, options, env) || address}</a>`;
};

function highlight(code, language) {
  if (!hljs.getLanguage(language)) return "";
  return hljs.highlight(code, { language, ignoreIllegals: true }).value;
}

/**
 * Markdown that grows: only blocks whose source has changed are made anew, so that a selection, a scrolled table and the focus
 * survive while an answer streams in.
 */
export class Markdown {
  #blocks = [];

  constructor(host) {
    this.host = host;
  }

  show(text) {
    const sources = blocksOf(text);
    let same = 0;
    while (same < sources.length && this.#blocks[same]?.source === sources[same].source) same += 1;
    for (const { nodes } of this.#blocks.splice(same)) for (const node of nodes) node.remove();
    for (const { source, tokens, env } of sources.slice(same)) {
      const fragment = DOMPurify.sanitize(parser.renderer.render(tokens, parser.options, env), CLEAN);
      furnish(fragment);
      const nodes = [...fragment.childNodes];
      this.host.append(fragment);
      this.#blocks.push({ source, nodes });
    }
  }
}

/** Returns the top-level blocks, each with its source lines and tokens. */
function blocksOf(text) {
  const env = {};
  const lines = text.split("\n");
  const blocks = [];
  for (const token of parser.parse(text, env)) {
    if (token.level === 0 && token.nesting >= 0) blocks.push({ source: `${token.type}\n${lines.slice(...(token.map ?? [])).join("\n")}`, tokens: [], env });
    blocks.at(-1).tokens.push(token);
  }
  return blocks;
}

function furnish(fragment) {
  for (const link of fragment.querySelectorAll("a[href]")) Object.assign(link, { target: "_blank", rel: "noopener noreferrer" });
  for (const table of fragment.querySelectorAll("table")) {
    const frame = h("div", { class: "table-frame", tabindex: "0", role: "group", "aria-label": t("table") });
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const pre of fragment.querySelectorAll("pre")) pre.replaceWith(codeBlock(pre));
}

function codeBlock(pre) {
  const language = pre.querySelector("code")?.className.match(/language-([\w+#-]+)/)?.[1] ?? "";
  const copy = copyButton("copy_code", () => pre.textContent.replace(/\n$/, ""));
  const figure = h("figure", { class: "code" }, h("figcaption", {}, h("span", {}, language || t("code")), copy));
  // It can be scrolled from the keyboard.
  for (const [name, value] of [["tabindex", "0"], ["role", "group"], ["aria-label", language || t("code")]]) pre.setAttribute(name, value);
  figure.append(pre.cloneNode(true));
  return figure;
}

/** Returns a button that copies `text()` and confirms it visibly and to screen readers. */
export function copyButton(label, text) {
  const button = h("button", { type: "button", class: "icon-button copy", "data-t-label": label, "data-t-title": label }, icon("copy"));
  button.setAttribute("aria-label", t(label));
  button.title = t(label);
  button.addEventListener("click", async () => {
    const copied = await copyText(text()).then(() => true, () => false);
    button.replaceChildren(icon(copied ? "check" : "alert"));
    announce(t(copied ? "copied" : "copy_failed"));
    setTimeout(() => button.replaceChildren(icon("copy")), 1600);
  });
  return button;
}
