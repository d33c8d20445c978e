// Text for screen readers. The messages are not a live region, because a reader would repeat them with every token.
// Instead, complete sentences of the answer are added to a separate polite log.

const END_OF_SENTENCE = /[。！？!?;；\n]|\.(?=\s)/g;
const KEPT = 30;

const log = document.getElementById("announcements");

export function announce(text) {
  const line = document.createElement("p");
  line.textContent = text;
  log.append(line);
  while (log.childElementCount > KEPT) log.firstElementChild.remove();
}

/** Announces a growing text: each sentence once, when it is complete. */
export class Reader {
  #said = 0;

  follow(text) {
    let end = this.#said;
    for (const match of text.matchAll(END_OF_SENTENCE)) end = Math.max(end, match.index + match[0].length);
    this.#say(text, end);
  }

  finish(text) {
    this.#say(text, text.length);
  }

  #say(text, end) {
    const words = plain(text.slice(this.#said, end));
    this.#said = end;
    if (words) announce(words);
  }
}

/** Removes Markdown syntax, which would be read aloud. */
function plain(text) {
  return text.replace(/[*_`#>|~]+/g, " ").replace(/\s+/g, " ").trim();
}
