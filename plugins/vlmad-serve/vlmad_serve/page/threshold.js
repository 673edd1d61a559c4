// Threshold: what is promised at each place, what it would have done lately, and the choice.
import { getJson, person, postForm, sendJson, untilDone } from "./api.js";
import { $, counted, el, number, percent, say, shown } from "./dom.js";
import { drawHistogram } from "./histogram.js";
import { detector, onChange, reload } from "./state.js";
import { onOpen, openName } from "./tabs.js";

let scores = [];
let kind = "normals";

const chosen = () => {
  const found = detector();
  return found && found.choices.length ? found.choices[found.choices.length - 1 - Number($("slider").value)] : null;
};

function preview(threshold) {
  const above = (list) => list.filter(([score]) => score > threshold).length;
  const good = scores.filter(([, label]) => label === "good");
  const defects = scores.filter(([, label]) => label === "defect");
  const parts = [];
  if (scores.length) parts.push(`of the latest ${counted(scores.length, "image")} it would reject ${above(scores)}`);
  if (good.length) parts.push(`of ${counted(good.length, "confirmed good one")} ${above(good)}`);
  if (defects.length) parts.push(`and miss ${defects.length - above(defects)} of ${counted(defects.length, "confirmed defect")}`);
  return parts.length ? `${parts.join(", ")}.`.replace(/^o/, "O") : "No image was inspected with this version yet.";
}

function drawChoice() {
  const found = detector();
  const choice = chosen();
  const used = found && found.rule ? found.rule.threshold : null;
  drawHistogram({ normals: found ? found.normals : [], scores, used, chosen: choice ? choice.threshold : null });
  if (!choice) {
    $("at-threshold").textContent = found ? found.reason : "";
    $("preview").textContent = "";
    $("use-threshold").disabled = true;
    return;
  }
  const proved = choice.proved === null ? "nothing is proved for this detector" : `proved is at most ${percent(choice.proved)}`;
  $("at-threshold").textContent = `Here ${percent(choice.rate)} of good parts are expected to be rejected on average; ${proved}.`;
  $("preview").textContent = preview(choice.threshold);
  $("use-threshold").disabled = choice.threshold === used;
  $("slider").setAttribute("aria-valuetext", `${percent(choice.rate)}, threshold ${number(choice.threshold)}`);
}

async function open() {
  const found = detector();
  $("promise").textContent = !found ? "There is no product yet." : found.rule ? found.rule.promise : found.reason;
  const places = found ? found.choices : [];
  $("slider").max = Math.max(0, places.length - 1);
  $("slider").disabled = places.length < 2;
  const current = found && found.rule ? places.findIndex((each) => each.threshold === found.rule.threshold) : 0;
  $("slider").value = places.length - 1 - Math.max(0, current);  // to the right, as in the histogram
  const needed = found ? found.needed.filter((each) => each.rate <= 0.1) : [];
  $("needed").replaceChildren(...needed.map((each) => el("li", {},
    each.missing ? `${percent(each.rate)} needs ${counted(each.missing, "more normal image")} (${each.normals} in all).` : `${percent(each.rate)} can be chosen.`)));
  const odd = found ? found.outliers : [];
  $("outliers").textContent = odd.length ? `These normal images stand out; perhaps they have a defect: ${odd.map((each) => shown(each.name)).join(", ")}.` : "";
  scores = found ? await getJson(`/v1/detectors/${found.name}/scores`).catch(() => []) : [];
  drawChoice();
}

async function use() {
  const found = detector();
  const choice = chosen();
  // The rate just above k / (n + 1), as the server rounds it, so that the k-th normal image is the threshold.
  const body = { false_alarms: Math.min(Math.max(choice.rate, 0.0001), 0.9999), by: person(), comment: $("why").value };
  try {
    await sendJson("PUT", `/v1/detectors/${found.name}/threshold`, body);
    $("why").value = "";
    await reload();
    say("The threshold is in use, and the change is in the log.");
  } catch (error) {
    say(error.message);
  }
}

async function addImages() {
  const found = detector();
  const files = [...$("more-files").files];
  $("more-files").value = "";
  if (!found || !files.length) return;
  const form = new FormData();
  for (const file of files) form.append(kind, file, file.name);
  form.append("by", person());
  $("more-progress").hidden = false;
  try {
    const job = await postForm(`/v1/detectors/${found.name}/calibrate?wait=false`, form);
    const made = await untilDone(job, (share) => { $("more-progress").value = share; });
    $("more-state").textContent = made.promise;
    await reload();
  } catch (error) {
    $("more-state").textContent = error.message;
  } finally {
    $("more-progress").hidden = true;
  }
}

export function startThreshold() {
  $("slider").addEventListener("input", drawChoice);
  $("use-threshold").addEventListener("click", use);
  for (const each of ["normals", "defects"]) {
    $(`more-${each}`).addEventListener("click", () => { kind = each; $("more-files").click(); });
  }
  $("more-files").addEventListener("change", addImages);
  onOpen("threshold", open);
  onChange(() => { if (openName() === "threshold") open(); });
  new ResizeObserver(() => { if (openName() === "threshold") drawChoice(); }).observe($("plot"));
}
