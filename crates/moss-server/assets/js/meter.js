// The part of the context window that a conversation uses. The server counts tokens; only new text is estimated.

/** Approximate tokens per character in MOSS's vocabulary: four letters per English token, one or two Chinese characters. */
const PER_WIDE = 0.75;
const PER_NARROW = 0.27;

export function estimate(text) {
  const wide = text.match(/[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]/g)?.length ?? 0;
  return Math.ceil(wide * PER_WIDE + (text.length - wide) * PER_NARROW);
}

/** Returns `{ tokens, exact }` of the visible messages and the draft. */
export function contextTokens(shown, system, draft) {
  const counted = shown.findLastIndex((node) => node.stats?.prompt_tokens !== undefined);
  const { stats } = shown[counted] ?? {};
  const known = stats ? stats.prompt_tokens + (stats.completion_tokens ?? 0) : estimate(system);
  const rest = shown.slice(counted + 1).map((node) => node.text).concat(draft).join("");
  return { tokens: known + estimate(rest), exact: rest === "" && (stats !== undefined || known === 0) };
}
