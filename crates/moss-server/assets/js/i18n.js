// The page's two languages. Fixed texts carry `data-t` (content), `data-t-label`, `data-t-title` or `data-t-hint` (placeholder).

import en from "./words/en.js";
import zh from "./words/zh.js";

export const CATALOGUES = { en, zh };
let words = en;

/** `wanted`: "en", "zh", or any other value for the browser's language. */
export function speak(wanted) {
  const language = CATALOGUES[wanted] ? wanted : /^zh/i.test(navigator.language) ? "zh" : "en";
  words = CATALOGUES[language];
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  translate(document);
}

export function t(key, values = {}) {
  return words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export function translate(root) {
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of root.querySelectorAll("[data-t-label]")) element.setAttribute("aria-label", t(element.dataset.tLabel));
  for (const element of root.querySelectorAll("[data-t-title]")) element.title = t(element.dataset.tTitle);
  for (const element of root.querySelectorAll("[data-t-hint]")) element.placeholder = t(element.dataset.tHint);
}

/** Returns the language of a text, for glyphs, line breaks and voices: Chinese from a tenth of Chinese characters on. */
export function languageOf(text) {
  const chinese = text.match(/\p{Script=Han}/gu)?.length ?? 0;
  return chinese * 10 > text.length ? "zh-Hans" : "en";
}
