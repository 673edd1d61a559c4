// Elements are made from parts and never from HTML text, so that no name can become markup.
function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function el(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

function svg(tag, properties, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

const $ = (id) => document.getElementById(id);

const VERDICTS = ["reject", "not this part", "review", "uncalibrated", "pass", "error"];
const GLYPHS = { pass: "✓", review: "?", reject: "✕", "not this part": "≠", uncalibrated: "–", error: "!" };
const NAMES = { error: "not scored" };
const verdictName = (verdict) => NAMES[verdict] || verdict;

function pill(verdict) {
  const glyph = el("span", { "aria-hidden": "true", class: "glyph" }, GLYPHS[verdict]);
  return el("span", { class: "pill", data: { verdict } }, glyph, verdictName(verdict));
}

const number = (value) => (value === null || value === undefined ? "–" : String(Number(value.toPrecision(4))));
const percent = (rate) => `${Number((100 * rate).toPrecision(rate < 0.1 ? 2 : 3))}\u00a0%`;
const area = (value) => `${Number(value.toPrecision(2))} %`;
const counted = (count, one, many) => `${count} ${count === 1 ? one : many || `${one}s`}`;
// What cannot be shown in a line: control characters, and bytes of a name that are not UTF-8.
const shown = (text) => text.toWellFormed ? clean(text.toWellFormed()) : clean(text);
const clean = (text) => text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
const fileName = (path) => path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);
