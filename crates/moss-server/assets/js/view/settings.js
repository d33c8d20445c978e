// The settings drawer: this chat, answers, appearance, data.

import * as archive from "../archive.js";
import { download, h } from "../dom.js";
import { t } from "../i18n.js";
import { PLUGINS, hasPlugins, slidersFor } from "../sampling.js";
import { fileName } from "./sidebar.js";
import { toast } from "./toast.js";

export class SettingsView {
  constructor(chats, settings) {
    Object.assign(this, { chats, settings });
    this.dialog = document.getElementById("settings");
    this.system = document.getElementById("system");
    this.key = document.getElementById("api-key");
    this.file = document.getElementById("import-file");
    document.getElementById("open-settings").addEventListener("click", () => this.open());
    document.getElementById("close-settings").addEventListener("click", () => this.dialog.close());
    // A click on the backdrop closes the drawer.
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.system.addEventListener("input", () => chats.amend({ system: this.system.value }));
    this.key.addEventListener("change", () => (settings.key = this.key.value));
    for (const name of ["theme", "language"]) {
      const choice = document.getElementById(name);
      choice.value = settings.get(name) ?? "auto";
      choice.addEventListener("change", () => settings.set(name, choice.value === "auto" ? null : choice.value));
    }
    document.getElementById("reset").addEventListener("click", () => {
      settings.set("sampling", {});
      this.redraw();
    });
    document.getElementById("export-all").addEventListener("click", () => download(fileName(t("conversations")), archive.write(chats.list())));
    document.getElementById("import").addEventListener("click", () => this.file.click());
    this.file.addEventListener("change", () => this.#import());
    document.getElementById("delete-all").addEventListener("click", (event) => this.#deleteAll(event.currentTarget));
    this.redraw();
  }

  open(field = null) {
    this.redraw();
    this.dialog.showModal();
    (field ? document.getElementById(field) : document.getElementById("close-settings")).focus();
  }

  redraw() {
    this.system.value = this.chats.current.system;
    this.key.value = this.settings.key;
    document.getElementById("plugin-switches").hidden = !hasPlugins(this.chats.info);
    document.getElementById("plugins").replaceChildren(...PLUGINS.map((name) => this.#plugin(name)));
    document.getElementById("sliders").replaceChildren(...slidersFor(this.chats.info).map((slider) => this.#slider(slider)));
    const remove = document.getElementById("delete-all");
    delete remove.dataset.sure;
    remove.textContent = t("delete_all");
  }

  #plugin(name) {
    const box = h("input", { type: "checkbox", role: "switch", id: `plugin-${name}` });
    box.checked = this.chats.current.plugins[name] === true;
    box.addEventListener("change", () => this.chats.amend({ plugins: { ...this.chats.current.plugins, [name]: box.checked } }));
    return h("label", { class: "switch" }, h("span", {}, t(`plugin_${name}`)), box);
  }

  #slider({ name, min, max, step, value, digits }) {
    const own = () => this.settings.get("sampling");
    const show = (number) => Number(number).toFixed(digits);
    const range = h("input", { type: "range", id: name, min, max, step, "aria-describedby": `${name}-hint` });
    range.value = own()[name] ?? value;
    // Only visual: the slider announces its value.
    const output = h("output", { for: name, "aria-hidden": "true" }, show(range.value));
    const fill = () => range.style.setProperty("--filled", `${max > min ? ((range.value - min) / (max - min)) * 100 : 100}%`);
    fill();
    range.addEventListener("input", () => {
      output.textContent = show(range.value);
      fill();
      this.settings.set("sampling", { ...own(), [name]: Number(range.value) });
    });
    return h("div", { class: "slider" }, h("label", { for: name }, t(`slider_${name}`)), output, range, h("p", { class: "hint", id: `${name}-hint` }, t(`hint_${name}`)));
  }

  async #import() {
    const [file] = this.file.files;
    this.file.value = "";
    if (!file) return;
    this.dialog.close();
    try {
      const n = await this.chats.import(archive.read(await file.text()));
      toast(n === 1 ? t("imported_one") : t("imported", { n }));
    } catch (error) {
      toast(error instanceof archive.ArchiveError ? t("import_failed", error) : t("storage_failed", { message: error.message }), { stays: true });
    }
  }

  /** The first click asks, the second one deletes. */
  #deleteAll(button) {
    if (button.dataset.sure) {
      this.chats.removeAll();
      this.dialog.close();
      toast(t("all_deleted"));
    } else {
      button.dataset.sure = "asked";
      button.textContent = t("delete_all_sure");
    }
  }
}
