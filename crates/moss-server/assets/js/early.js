// Runs before the first paint, so that the page never flashes in another theme or language. All other files are modules.
(() => {
  let saved = {};
  try {
    saved = JSON.parse(localStorage.getItem("moss.settings")) ?? {};
  } catch {
    // Storage is disabled or unreadable. settings.js reports it.
  }
  const root = document.documentElement;
  if (saved.theme === "light" || saved.theme === "dark") root.dataset.theme = saved.theme;
  const language = saved.language ?? navigator.language;
  root.lang = /^zh/i.test(language) ? "zh-Hans" : "en";
})();
