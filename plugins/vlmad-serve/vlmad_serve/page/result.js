// One result in words: the verdict, its numbers, reasons, the nearest normal image, and the buttons for feedback.
import { ApiError, getJson } from "./api.js";
import { counted, el, glyph, number, percent, shown, time } from "./dom.js";
import { sendFeedback } from "./feedback.js";

function sentence(result) {
  if (result.reason) return result.reason;
  if (result.verdict === "pass") return `The score is not above the threshold.`;
  const found = counted(result.regions.length, "region");
  return result.verdict === "review"
    ? `The score is above the threshold for review; ${found} outlined.`
    : `The score is above the threshold; ${found} outlined.`;
}

function numbers(result) {
  const rows = [
    ["score", number(result.score)],
    ["threshold", result.threshold === null ? "none" : `${number(result.threshold)} (${percent(result.false_alarms)} of good parts rejected)`],
    ["p-value", number(result.p_value)],
    ["file", shown(result.name) || "–"],
    ["when", `${time(result.received)}, ${Math.round(result.milliseconds)} ms, version ${result.version}`],
  ];
  if (result.note) rows.push(["note", shown(result.note)]);
  return el("dl", { class: "numbers" }, ...rows.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]));
}

function feedbackButtons(result, changed) {
  const button = (text, key, label) => el(
    "button",
    { type: "button", "aria-pressed": String(result.label === label), data: { label, action: key },
      onclick: () => sendFeedback(result, result.label === label ? null : label, changed) },
    text, el("kbd", {}, key),
  );
  const isAlarm = result.verdict !== "pass";
  return el("div", { class: "buttons" },
    button(isAlarm ? "False alarm: it is good" : "It is good", isAlarm ? "F" : "C", "good"),
    button(isAlarm ? "It has a defect" : "Missed: it has a defect", isAlarm ? "C" : "M", "defect"));
}

function nearest(result) {
  if (!result.nearest_normal || !result.nearest_normal.image || !result.links.thumbnail) return null;
  return el("section", {}, el("h3", {}, "Most similar normal image"),
    el("div", { class: "pair" },
      el("figure", {}, el("img", { src: result.links.thumbnail, alt: "" }), el("figcaption", {}, "this image")),
      el("figure", {}, el("img", { src: result.nearest_normal.image, alt: "" }),
        el("figcaption", {}, `normal, distance ${number(result.nearest_normal.distance)}`))));
}

// Where the server has evidence, its contributions: pairs of a text and a number, wherever they stand in it.
function contributions(value, found = []) {
  if (Array.isArray(value)) for (const each of value) contributions(each, found);
  else if (value && typeof value === "object") {
    const label = value.label || value.text || value.name;
    const amount = value.value ?? value.contribution ?? value.share;
    if (typeof label === "string" && typeof amount === "number") found.push([label, amount]);
    else for (const each of Object.values(value)) contributions(each, found);
  }
  return found;
}

async function reasons(result, place) {
  if (!result.links.evidence) return;
  try {
    const found = contributions(await getJson(result.links.evidence)).slice(0, 12);
    if (found.length) {
      place.append(el("h3", {}, "What the score is made of"),
        el("ul", { class: "reasons" }, ...found.map(([label, value]) => el("li", {}, el("span", {}, shown(label)), el("b", {}, number(value))))));
    }
  } catch (error) {
    if (!(error instanceof ApiError) || ![404, 409, 501].includes(error.status)) throw error;
  }
}

export function showResult(place, result, changed, isBrief = false) {
  const isLong = result.verdict.length > 8;
  const why = el("section", {});
  place.replaceChildren(
    el("div", { class: `verdict${isLong ? " long" : ""}`, data: { verdict: result.verdict } }, glyph(result.verdict), result.verdict),
    el("p", {}, sentence(result)),
    feedbackButtons(result, (fresh) => { showResult(place, fresh, changed); changed(fresh); }),
    numbers(result),
    why,
    ...[nearest(result)].filter(Boolean),
  );
  place.dataset.result = result.id;
  return isBrief ? null : reasons(result, why);
}
