// Assembles the page.

import { Api } from "./api.js";
import { Chats } from "./chats.js";
import { icon } from "./dom.js";
import { speak, t, translate } from "./i18n.js";
import { Settings } from "./settings.js";
import { Store } from "./store.js";
import { ComposerView } from "./view/composer.js";
import { SettingsView } from "./view/settings.js";
import { SidebarView, titleOf } from "./view/sidebar.js";
import { ThreadView } from "./view/thread.js";
import { toast } from "./view/toast.js";

const ASK_AGAIN_MS = 5000;

const settings = new Settings();
const api = new Api(document.baseURI, () => settings.key);
speak(settings.get("language"));
for (const element of document.querySelectorAll("[data-icon]")) element.prepend(icon(element.dataset.icon));
document.documentElement.classList.add("ready");

const store = await Store.open();
const chats = new Chats(store, api, settings);
const drawer = new SettingsView(chats, settings);
const thread = new ThreadView(chats, {
  enterKey: () => drawer.open("api-key"),
  focusComposer: () => composer.focus(),
  send: (text) => composer.submit(text),
});
const composer = new ComposerView(chats, { editLast: () => thread.editLast(), openSettings: () => drawer.open() });
const sidebar = new SidebarView(chats, settings, { focusComposer: () => composer.focus() });

const title = document.getElementById("title");
function drawTitle() {
  title.textContent = titleOf(chats.current);
  document.title = chats.current.title ? `${chats.current.title} · MOSS` : "MOSS";
}
chats.addEventListener("list", drawTitle);
chats.addEventListener("trouble", ({ detail }) => {
  const full = detail?.name === "QuotaExceededError";
  toast(full ? t("storage_full") : t("storage_failed", { message: detail?.message ?? "" }), { stays: true });
});

settings.addEventListener("change", ({ detail }) => {
  if (detail === "theme") showTheme();
  if (detail === "key") meetServer();
  if (detail === "language") {
    speak(settings.get("language"));
    for (const view of [thread, drawer, sidebar]) view.redraw();
    composer.refresh();
    drawTitle();
  }
});

function showTheme() {
  const theme = settings.get("theme");
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    sidebar.focusSearch();
  } else if (event.key === "Escape" && !event.defaultPrevented && !event.isComposing && !drawer.dialog.open) chats.stop();
});

/** Fetches the server's model and limits, and retries while it is not reachable. */
let asking = 0;
async function meetServer() {
  const mine = (asking += 1);
  const status = document.getElementById("server");
  const banner = document.getElementById("banner");
  try {
    chats.info = await api.info();
    status.textContent = chats.info.model;
    banner.hidden = true;
  } catch (problem) {
    banner.hidden = false;
    banner.querySelector("p").dataset.t = problem.kind === "key" ? "problem_key" : problem.kind === "starting" ? "problem_starting" : "server_offline";
    banner.querySelector("[data-do=key]").hidden = problem.kind !== "key";
    translate(banner);
    if (problem.kind !== "key") setTimeout(() => mine === asking && meetServer(), ASK_AGAIN_MS);
  }
  composer.refresh();
}
document.querySelector("#banner [data-do=key]").addEventListener("click", () => drawer.open("api-key"));

if (!store.lasting) toast(t("storage_none"), { stays: true });
meetServer();
await chats.load();
// A reload restores the open conversation; a new tab starts a new chat.
const last = chats.get(settings.place);
if (last) chats.open(last);
chats.addEventListener("list", () => (settings.place = chats.current.id));
drawTitle();
composer.focus();
document.documentElement.classList.add("works"); // the page is ready; tests wait for this class
