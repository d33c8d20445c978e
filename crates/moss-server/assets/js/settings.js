// The user's settings in localStorage, and the API key in sessionStorage, until the tab is closed.
// A "change" event follows every set.

const PREFERENCES = "moss.settings";
const KEY = "moss.key";
const PLACE = "moss.place";

/** A null language or theme follows the browser. `sampling` contains only changed values. */
const DEFAULTS = { language: null, theme: null, sampling: {}, system: "", plugins: {}, list: true };

export class Settings extends EventTarget {
  #values = { ...DEFAULTS, ...load() };
  #key = session((storage) => storage.getItem(KEY)) ?? "";

  get(name) {
    return this.#values[name];
  }

  set(name, value) {
    this.#values[name] = value;
    try {
      localStorage.setItem(PREFERENCES, JSON.stringify(this.#values));
    } catch {
      // If storage is full or disabled, the setting is kept while the page is open.
    }
    this.dispatchEvent(new CustomEvent("change", { detail: name }));
  }

  /** The conversation that is open in this tab. */
  get place() {
    return session((storage) => storage.getItem(PLACE));
  }

  set place(id) {
    session((storage) => storage.setItem(PLACE, id));
  }

  get key() {
    return this.#key;
  }

  set key(value) {
    this.#key = value.trim();
    session((storage) => (this.#key ? storage.setItem(KEY, this.#key) : storage.removeItem(KEY)));
    this.dispatchEvent(new CustomEvent("change", { detail: "key" }));
  }
}

function load() {
  try {
    const saved = JSON.parse(localStorage.getItem(PREFERENCES));
    return Object.fromEntries(Object.entries(saved ?? {}).filter(([name]) => name in DEFAULTS));
  } catch {
    return {};
  }
}

function session(use) {
  try {
    return use(sessionStorage);
  } catch {
    return null;
  }
}
