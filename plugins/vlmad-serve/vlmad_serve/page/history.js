// History: every image that was inspected, with filters, in detail, and for export.
import { getJson } from "./api.js";
import { $, counted, el, number, pill, say, shown, time } from "./dom.js";
import { labelFor, sendFeedback } from "./feedback.js";
import { showResult } from "./result.js";
import { showStage } from "./stage.js";
import { onChange, state } from "./state.js";
import { onOpen, openName } from "./tabs.js";

const PAGE = 60;
let results = [];
let before = null;
let place = -1;

const FILTERS = { "f-verdict": "verdict", "f-label": "label", "f-search": "search", "f-min": "min_score", "f-max": "max_score" };

function query() {
  const asked = new URLSearchParams();
  if (!$("f-all").checked && state.product) asked.set("detector", state.product);
  for (const [id, name] of Object.entries(FILTERS)) if ($(id).value !== "") asked.set(name, $(id).value);
  for (const [id, name] of [["f-since", "since"], ["f-until", "until"]]) {
    if ($(id).value) asked.set(name, String(new Date($(id).value).getTime() / 1000));
  }
  return asked;
}

function card(result, index) {
  return el("button", { type: "button", class: "card", data: { result: result.id }, onclick: () => show(index) },
    result.links.thumbnail ? el("img", { src: result.links.thumbnail, alt: "", loading: "lazy" }) : el("span", { class: "quiet line" }, "no picture"),
    el("span", { class: "line" }, pill(result.verdict), el("b", {}, number(result.score))),
    el("span", { class: "name" }, shown(result.name) || result.detector),
    el("span", { class: "line" }, el("span", { class: "quiet" }, time(result.received)),
      result.label ? el("span", { class: "label", data: { label: result.label } }, result.label) : null));
}

function draw() {
  $("cards").replaceChildren(...results.map(card));
  $("more").hidden = before === null;
  $("shown").textContent = results.length ? `${counted(results.length, "image")} shown${before ? ", there are more" : ""}` : "No image passes these filters.";
}

async function load(isMore) {
  const asked = query();
  for (const kind of ["csv", "jsonl"]) $(`export-${kind}`).href = `/v1/export/results.${kind}?${asked}`;
  $("export-report").href = `/v1/export/${state.product}/report.html?${asked}`;
  $("export-report").hidden = !state.product;
  asked.set("limit", PAGE);
  if (isMore && before) asked.set("before", before);
  try {
    const page = await getJson(`/v1/results?${asked}`);
    results = isMore ? [...results, ...page.results] : page.results;
    before = page.before;
    draw();
  } catch (error) {
    say(error.message);
  }
}

function changed(fresh) {
  const index = results.findIndex((each) => each.id === fresh.id);
  if (index >= 0) results[index] = fresh;
  draw();
}

function show(index) {
  if (index < 0 || index >= results.length) return;
  place = index;
  const result = results[index];
  $("detail-name").textContent = shown(result.name) || result.detector;
  $("detail-stage").replaceChildren();
  if (!$("detail").open) $("detail").showModal();
  return Promise.all([showStage($("detail-stage"), result), showResult($("detail-result"), result, changed)]);
}

export const isDetailOpen = () => $("detail").open;
export const step = (by) => show(place + by);

export function act(key) {
  const result = results[place];
  if (!result) return;
  const label = key === "u" ? null : labelFor(key, result);
  if (key === "u" || label) {
    sendFeedback(result, label, (fresh) => { changed(fresh); showResult($("detail-result"), fresh, changed); });
  }
}

export function startHistory() {
  let timer = 0;
  for (const id of [...Object.keys(FILTERS), "f-since", "f-until", "f-all"]) {
    $(id).addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => load(false), 200); });
  }
  $("more").addEventListener("click", () => load(true));
  $("detail-close").addEventListener("click", () => $("detail").close());
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  onOpen("history", () => load(false));
  onChange(() => { if (openName() === "history" && !isDetailOpen()) load(false); });
}
