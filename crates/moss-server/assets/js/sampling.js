// The sliders of the published web demo, with its ranges and values. Defaults of the server take precedence.

export const SLIDERS = [
  { name: "temperature", min: 0, max: 1, step: 0.05, value: 0.7, digits: 2 },
  { name: "max_tokens", min: 256, max: 1024, step: 32, value: 512, digits: 0 },
  { name: "repetition_penalty", min: 1, max: 1.1, step: 0.01, value: 1.02, digits: 2 },
  { name: "top_p", min: 0.05, max: 1, step: 0.05, value: 0.8, digits: 2 },
  // From an answer's first token. The default is the server's limit, because a CPU may need minutes for an answer.
  { name: "max_time_s", min: 10, max: 600, step: 5, value: 600, digits: 0 },
];

export const PLUGINS = ["web_search", "calculator", "equation_solver", "text_to_image"];

/** Returns the sliders with this server's defaults, and ranges that contain the default and respect the limit. */
export function slidersFor(info) {
  return SLIDERS.map((slider) => {
    const value = number(info?.defaults?.[slider.name]) ?? slider.value;
    const limit = number(info?.limits?.[slider.name]) ?? Infinity;
    const max = Math.min(Math.max(slider.max, value), limit);
    return { ...slider, value: Math.min(value, max), min: Math.min(slider.min, value, max), max };
  });
}

/** Returns true if the model was trained with plugins, or if that is unknown. */
export function hasPlugins(info) {
  return info?.plugins !== false;
}

/** Returns a request's fields: the user's values, or the sliders' defaults. */
export function requestFields(info, own, plugins) {
  const values = Object.fromEntries(slidersFor(info).map(({ name, value, min, max }) => [name, Math.min(Math.max(own[name] ?? value, min), max)]));
  const { max_time_s, ...fields } = values;
  // If unchanged, the server's default is used.
  const time = own.max_time_s === undefined || own.max_time_s === null ? {} : { max_time_s };
  const on = (name) => hasPlugins(info) && plugins[name] === true;
  return { ...fields, moss: { ...time, truncation: "auto", plugins: Object.fromEntries(PLUGINS.map((name) => [name, on(name)])) } };
}

function number(value) {
  return Number.isFinite(value) ? value : null;
}
