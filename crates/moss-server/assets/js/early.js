// Runs before the first paint, so that a chosen theme or language never flashes its opposite. Everything else is a module.
(() => {
  let saved = {};
  try {
    saved = JSON.parse(localStorage.getItem("moss.settings")) ?? {};
  } catch {
    // Storage is off or unreadable: settings.js says so where it matters.
  }
  const root = document.documentElement;
  if (saved.theme === "light" || saved.theme === "dark") root.dataset.theme = saved.theme;
  const language = saved.language ?? navigator.language;
  root.lang = /^zh/i.test(language) ? "zh-Hans" : "en";
})();
