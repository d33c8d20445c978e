// A conversation is a tree of messages. Editing a question or asking again adds a branch; nothing is overwritten.
//
// conversation: { id, title, named, created, updated, system, plugins, draft, nodes, chosen }
//   nodes   in order of creation, so that a parent always precedes its children
//   chosen  parent id (ROOT for the first message) -> id of the child that is shown
//   named   the user gave the title; else it is the start of the first message
// node: { id, parent, role: "user" | "assistant", text, created, state, problem?, finish?, stats?, dropped? }
//   state   "done" | "streaming" | "stopped" | "failed"

import { newId } from "./dom.js";

export const ROOT = "root";
const TITLE_CHARACTERS = 48;

export function newConversation({ system = "", plugins = {} } = {}) {
  const now = Date.now();
  return { id: newId(), title: "", named: false, created: now, updated: now, system, plugins: { ...plugins }, draft: "", nodes: [], chosen: {} };
}

/** Adds a message below `parent` (a node, or null for a first message) and shows it. */
export function append(conversation, parent, role, text) {
  const node = { id: newId(), parent: parent?.id ?? null, role, text, created: Date.now(), state: "done" };
  conversation.nodes.push(node);
  choose(conversation, node);
  conversation.updated = node.created;
  if (!conversation.named && !conversation.title && role === "user") conversation.title = titleFrom(text);
  return node;
}

export function titleFrom(text) {
  const line = text.trim().split("\n", 1)[0].replace(/\s+/g, " ");
  const characters = Array.from(line);
  return characters.length > TITLE_CHARACTERS ? `${characters.slice(0, TITLE_CHARACTERS - 1).join("")}…` : line;
}

/** Shows the branch that begins with `node`. */
export function choose(conversation, node) {
  conversation.chosen[node.parent ?? ROOT] = node.id;
}

/** Returns all versions of the message of `node`, oldest first. */
export function siblings(conversation, node) {
  return conversation.nodes.filter((other) => other.parent === node.parent);
}

export function parentOf(conversation, node) {
  return conversation.nodes.find((other) => other.id === node.parent) ?? null;
}

/** Returns the visible messages: from each node to its chosen child, or to the newest one. */
export function path(conversation) {
  const children = Map.groupBy ? Map.groupBy(conversation.nodes, (node) => node.parent ?? ROOT) : group(conversation.nodes);
  const shown = [];
  for (let versions = children.get(ROOT); versions; ) {
    const wanted = conversation.chosen[versions[0].parent ?? ROOT];
    const node = versions.find((version) => version.id === wanted) ?? versions.at(-1);
    shown.push(node);
    versions = children.get(node.id);
  }
  return shown;
}

function group(nodes) {
  const children = new Map();
  for (const node of nodes) {
    const key = node.parent ?? ROOT;
    children.set(key, [...(children.get(key) ?? []), node]);
  }
  return children;
}

/**
 * Returns the messages of a request: the system prompt, then the visible messages up to `last`. An answer that never started
 * is omitted, and the questions around it are joined, so that roles always alternate.
 */
export function promptMessages(conversation, last) {
  const messages = conversation.system.trim() ? [{ role: "system", content: conversation.system }] : [];
  for (const node of path(conversation)) {
    if (node.role === "assistant" && node.id === last.id) break;
    const previous = messages.at(-1);
    if (node.role === "user" && previous?.role === "user") previous.content += `\n\n${node.text}`;
    else if (node.role === "user" || node.text) messages.push({ role: node.role, content: node.text });
    if (node.id === last.id) break;
  }
  return messages;
}
