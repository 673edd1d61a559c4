// What a person says of a result: kept at once, and, where that is wished, taken into memory and calibration.
import { person, post, sendJson, untilDone } from "./api.js";
import { $, number, say, Store } from "./dom.js";
import { reload } from "./state.js";

export function labelFor(action, result) {
  if (action === "f") return "good";
  if (action === "m") return "defect";
  if (action === "c" && result.verdict === "pass") return "good";
  if (action === "c" && ["reject", "not this part", "review"].includes(result.verdict)) return "defect";
  return null;
}

let timer = 0;
let isUpdating = false;

export async function sendFeedback(result, label, changed) {
  try {
    const fresh = await sendJson("PUT", `/v1/results/${result.id}/feedback`, { label, comment: result.comment, by: person() });
    changed(fresh);
    say(label === null ? "Taken back." : `Noted: ${{ good: "the part is good", defect: "the part has a defect" }[label] || "it is another part"}.`);
    clearTimeout(timer);
    if (label !== null && $("at-once").checked) timer = setTimeout(() => update(result.detector), 1500);
  } catch (error) {
    say(error.message);
  }
}

export async function update(product) {
  if (isUpdating) {
    timer = setTimeout(() => update(product), 1500);
    return;
  }
  isUpdating = true;
  try {
    const job = await post(`/v1/detectors/${product}/feedback?wait=false&by=${encodeURIComponent(person())}`);
    const made = await untilDone(job, () => {});
    const threshold = made.threshold === null ? "no threshold" : `threshold ${number(made.threshold)}`;
    say(`Version ${made.version} is in use: ${made.normals} normal images, ${threshold}.`);
    await reload();
  } catch (error) {
    if (error.status !== 409) say(error.message);
  } finally {
    isUpdating = false;
  }
}

export function startFeedback() {
  $("at-once").checked = Store.get("at-once") !== "no";
  $("at-once").addEventListener("change", () => Store.set("at-once", $("at-once").checked ? "yes" : "no"));
}
