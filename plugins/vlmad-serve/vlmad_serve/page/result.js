// One result in words: the verdict, its numbers, reasons, the nearest normal image, and the buttons for feedback.
import { ApiError, getJson } from "./api.js";
import { counted, el, glyph, number, percent, say, shown, time } from "./dom.js";
import { sendFeedback } from "./feedback.js";
import { state } from "./state.js";

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
    text, key === "O" ? null : el("kbd", {}, key),
  );
  const isAlarm = result.verdict !== "pass";
  return el("div", { class: "buttons" },
    button(isAlarm ? "False alarm: it is good" : "It is good", isAlarm ? "F" : "C", "good"),
    button(isAlarm ? "It has a defect" : "Missed: it has a defect", isAlarm ? "C" : "M", "defect"),
    result.verdict === "not this part" ? button("It is another part", "O", "other part") : null);
}

function nearest(result) {
  if (!result.nearest_normal || !result.nearest_normal.image || !result.links.thumbnail) return null;
  return el("section", {}, el("h3", {}, "Most similar normal image as a whole"),
    el("div", { class: "pair" },
      el("figure", {}, el("img", { src: result.links.thumbnail, alt: "" }), el("figcaption", {}, "this image")),
      el("figure", {}, el("img", { src: result.nearest_normal.image, alt: "" }),
        el("figcaption", {}, `normal, distance ${number(result.nearest_normal.distance)}`))));
}

function placePictures(result) {
  const picture = (side, text) => el("figure", {},
    el("img", { src: `/v1/results/${result.id}/nearest.jpg?side=${side}`, alt: "" }), el("figcaption", {}, text));
  return [el("h3", {}, "Most suspicious place, and the nearest normal one"),
    el("div", { class: "pair" }, picture("image", "this image"), picture("normal", "normal image"))];
}

async function reasons(result, where) {
  const used = state.detectors.find((each) => each.name === result.detector);
  if (!result.links.evidence || !used || used.version !== result.version) return;  // its reasons went with its version
  try {
    const found = await getJson(result.links.evidence);
    if (where.closest("[data-result]").dataset.result !== result.id) return;  // another image is shown by now
    where.append(el("h3", {}, "What the score is made of"),
      el("ul", { class: "reasons" }, ...found.reasons.map(({ label, value }) => el("li", {}, el("span", {}, shown(label)), el("b", {}, number(value))))));
    if (found.score_without_place !== null) {
      where.append(el("p", { class: "quiet" }, `Without the most suspicious place the score would be ${number(found.score_without_place)}.`));
    }
    if (found.nearest && found.nearest.image) where.append(...placePictures(result));
  } catch (error) {
    if (!(error instanceof ApiError) || ![404, 409].includes(error.status)) say(error.message);
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
