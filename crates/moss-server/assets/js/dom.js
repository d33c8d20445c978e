// Builds elements. Text is always inserted as text nodes, so nothing here parses HTML.

/**
 * `h("button", { class: "icon", "aria-label": "Copy", onclick: copy }, icon("copy"))`.
 * Attributes that are null or false are left out, true gives an empty one; functions are listeners.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Strokes on a 24 x 24 grid. */
const ICONS = {
  alert: "M12 8v5 M12 16.500v.010 M10.300 4 2.800 17a2 2 0 0 0 1.700 3h15a2 2 0 0 0 1.700-3L13.700 4a2 2 0 0 0-3.400 0z",
  check: "M5 12.500 10 17.500 19 7",
  close: "M6 6 18 18 M18 6 6 18",
  copy: "M9 9h9a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2h-7a2 2 0 0 1-2-2z M5 15a1.500 1.500 0 0 1-1-1.500V6a2 2 0 0 1 2-2h7.500a1.500 1.500 0 0 1 1.500 1",
  down: "M12 5v14 M6 13l6 6 6-6",
  edit: "M14.500 5.500 18.500 9.500 M4 20l1-4.500L16 4.500a1.900 1.900 0 0 1 2.700 0l.800.800a1.900 1.900 0 0 1 0 2.700L8.500 19z",
  export: "M12 4v11 M7.500 10.500 12 15l4.500-4.500 M4 18v1a1.500 1.500 0 0 0 1.500 1.500h13A1.500 1.500 0 0 0 20 19v-1",
  import: "M12 15V4 M7.500 8.500 12 4l4.500 4.500 M4 18v1a1.500 1.500 0 0 0 1.500 1.500h13A1.500 1.500 0 0 0 20 19v-1",
  left: "M14.500 6 8.500 12l6 6",
  list: "M4.500 5h15v14h-15z M9.500 5v14",
  more: "M5 12h.010 M12 12h.010 M19 12h.010",
  plus: "M12 5v14 M5 12h14",
  retry: "M19.500 12a7.500 7.500 0 1 1-2.200-5.300L20 9.300 M20 4.500v4.800h-4.800",
  right: "M9.500 6l6 6-6 6",
  send: "M12 19V5 M5.500 11.500 12 5l6.500 6.500",
  sliders: "M4 8h9 M17 8h3 M15 5.500v5 M4 16h3 M11 16h9 M9 13.500v5",
  trash: "M4.500 7h15 M9.500 7V5a1 1 0 0 1 1-1h3a1 1 0 0 1 1 1v2 M6.500 7l.800 12a1.500 1.500 0 0 0 1.500 1.500h6.400a1.500 1.500 0 0 0 1.500-1.500L17.500 7",
};

/** An icon is decoration. Its container has the label. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", `icon icon-${name}`);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** Copies `text` to the clipboard, also outside secure contexts (plain http in a local network). */
export async function copyText(text) {
  if (navigator.clipboard) {
    try {
      return void (await navigator.clipboard.writeText(text));
    } catch {
      // Rejected, for example without focus. The older method may work.
    }
  }
  const before = document.activeElement;
  const area = h("textarea", { class: "offscreen", readonly: true, "aria-hidden": "true" });
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  before?.focus({ preventScroll: true });
  if (!copied) throw new Error("the browser refused to copy");
}

/** Downloads a file. */
export function download(name, text, type = "application/json") {
  const url = URL.createObjectURL(new Blob([text], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Returns a random id; `crypto.randomUUID` exists only in secure contexts. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
