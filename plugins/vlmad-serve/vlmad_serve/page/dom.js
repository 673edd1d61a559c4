// Elements are made from parts and never from HTML text, so that no name can become markup.
function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "style") for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const el = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);
export const svg = (tag, properties, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
export const $ = (id) => document.getElementById(id);

const GLYPHS = { pass: "✓", review: "?", reject: "✕", "not this part": "≠", uncalibrated: "–", error: "!" };
export const glyph = (verdict) => el("span", { "aria-hidden": "true", class: "glyph" }, GLYPHS[verdict] || "–");
export const pill = (verdict) => el("span", { class: "pill", data: { verdict } }, glyph(verdict), verdict);

export const number = (value) => (value === null || value === undefined ? "–" : String(Number(value.toPrecision(4))));
export const percent = (rate) => `${Number((100 * rate).toPrecision(rate < 0.1 ? 2 : 3))}\u00a0%`;
export const counted = (count, one, many) => `${count} ${count === 1 ? one : many || `${one}s`}`;
export const shown = (text) => (text || "").replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
export const time = (text) => new Date(text).toLocaleString([], { dateStyle: "short", timeStyle: "medium" });

// What this browser remembers; a browser that keeps nothing is no error.
export const Store = {
  get(name) { try { return localStorage.getItem(`vlmad-serve-${name}`); } catch { return null; } },
  set(name, value) { try { localStorage.setItem(`vlmad-serve-${name}`, value); } catch { /* nothing is kept */ } },
};

let timer = 0;
export function say(text, seconds = 6) {
  $("message").textContent = text;
  $("message").hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => { $("message").hidden = true; }, 1000 * seconds);
}
