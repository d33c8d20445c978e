// How much of the model's window a conversation takes. The server counts; only what it has not seen yet is estimated.

/** Tokens of MOSS's vocabulary for a character, about: one word of English in four letters, most Chinese words in one or two. */
const PER_WIDE = 0.75;
const PER_NARROW = 0.27;

export function estimate(text) {
  const wide = text.match(/[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]/g)?.length ?? 0;
  return Math.ceil(wide * PER_WIDE + (text.length - wide) * PER_NARROW);
}

/** `{ tokens, exact }` of the shown messages and the draft. */
export function contextTokens(shown, system, draft) {
  const counted = shown.findLastIndex((node) => node.stats?.prompt_tokens !== undefined);
  const { stats } = shown[counted] ?? {};
  const known = stats ? stats.prompt_tokens + (stats.completion_tokens ?? 0) : estimate(system);
  const rest = shown.slice(counted + 1).map((node) => node.text).concat(draft).join("");
  return { tokens: known + estimate(rest), exact: rest === "" && (stats !== undefined || known === 0) };
}
