// Export and import of conversations. A file is checked completely before anything is imported.

import { ROOT } from "./tree.js";
import { PLUGINS } from "./sampling.js";

const FORMAT = "moss-conversations";
const VERSION = 1;
const MAX_BYTES = 64 * 1024 * 1024;

/** An error in a file: its place (`where`), the value `found` and the value `expected`. */
export class ArchiveError extends Error {
  constructor(where, found, expected) {
    super(`${where}: found ${found}, expected ${expected}`);
    Object.assign(this, { where, found, expected });
  }
}

export function write(conversations) {
  return JSON.stringify({ format: FORMAT, version: VERSION, exported: new Date().toISOString(), conversations }, null, 2);
}

/** Returns the conversations of a file, built field by field, without unknown fields. Throws `ArchiveError`. */
export function read(text) {
  if (text.length > MAX_BYTES) throw new ArchiveError("file", `${text.length} characters`, `at most ${MAX_BYTES}`);
  let file;
  try {
    file = JSON.parse(text);
  } catch (error) {
    throw new ArchiveError("file", error.message, "JSON");
  }
  check(file?.format === FORMAT, "format", file?.format, FORMAT);
  check(file.version === VERSION, "version", file.version, VERSION);
  check(Array.isArray(file.conversations), "conversations", file.conversations, "a list");
  return file.conversations.map((raw, index) => conversation(raw, `conversations[${index}]`));
}

function conversation(raw, where) {
  check(isObject(raw), where, raw, "an object");
  check(Array.isArray(raw.nodes), `${where}.nodes`, raw.nodes, "a list");
  const byId = new Map();
  const nodes = raw.nodes.map((rawNode, index) => {
    const checked = node(rawNode, byId, `${where}.nodes[${index}]`);
    byId.set(checked.id, checked);
    return checked;
  });
  return {
    id: id(raw.id, `${where}.id`),
    title: string(raw.title, `${where}.title`),
    named: raw.named === true,
    created: time(raw.created, `${where}.created`),
    updated: time(raw.updated, `${where}.updated`),
    system: string(raw.system, `${where}.system`),
    plugins: Object.fromEntries(PLUGINS.map((name) => [name, raw.plugins?.[name] === true])),
    draft: typeof raw.draft === "string" ? raw.draft : "",
    nodes,
    chosen: chosen(raw.chosen, byId, `${where}.chosen`),
  };
}

function node(raw, earlier, where) {
  check(isObject(raw), where, raw, "an object");
  const checked = {
    id: id(raw.id, `${where}.id`),
    parent: raw.parent === null ? null : id(raw.parent, `${where}.parent`),
    role: raw.role,
    text: string(raw.text, `${where}.text`),
    created: time(raw.created, `${where}.created`),
    // Answers that were streaming at the export have ended.
    state: raw.state === "streaming" ? "stopped" : raw.state,
  };
  check(!earlier.has(checked.id) && checked.id !== ROOT, `${where}.id`, checked.id, "one of its own");
  // A parent precedes its children, which excludes cycles.
  check(checked.parent === null || earlier.has(checked.parent), `${where}.parent`, checked.parent, "an earlier message");
  const expected = checked.parent === null || earlier.get(checked.parent).role === "assistant" ? "user" : "assistant";
  check(checked.role === expected, `${where}.role`, checked.role, expected);
  check(["done", "stopped", "failed"].includes(checked.state), `${where}.state`, checked.state, "done, stopped or failed");
  if (typeof raw.finish === "string") checked.finish = raw.finish;
  if (isObject(raw.problem)) {
    const { kind, message, status, param } = raw.problem;
    checked.problem = { kind: String(kind), message: String(message ?? ""), status: status ?? null, param: param ?? null, retryAfter: null };
  }
  if (Number.isSafeInteger(raw.dropped) && raw.dropped > 0) checked.dropped = raw.dropped;
  if (isObject(raw.stats)) checked.stats = Object.fromEntries(Object.entries(raw.stats).filter(([, value]) => Number.isFinite(value)));
  return checked;
}

function chosen(raw, byId, where) {
  check(isObject(raw), where, raw, "an object");
  for (const [parent, child] of Object.entries(raw)) {
    check((byId.get(child)?.parent ?? ROOT) === parent && byId.has(child), `${where}.${parent}`, child, "a message below it");
  }
  return { ...raw };
}

function id(value, where) {
  check(typeof value === "string" && /^[\w-]{1,64}$/.test(value), where, value, "an id");
  return value;
}

function string(value, where) {
  check(typeof value === "string", where, value, "text");
  return value;
}

function time(value, where) {
  check(Number.isFinite(value), where, value, "milliseconds");
  return value;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function check(holds, where, found, expected) {
  if (!holds) throw new ArchiveError(where, JSON.stringify(found)?.slice(0, 80) ?? "nothing", expected);
}
