// Inspect: images that are dropped, pasted, chosen or taken; the newest result is shown large.
import { inspectImage } from "./api.js";
import { closeCamera, grab, openCamera } from "./camera.js";
import { $, counted, el, number, pill, say } from "./dom.js";
import { labelFor, sendFeedback } from "./feedback.js";
import { showResult } from "./result.js";
import { showStage } from "./stage.js";
import { onChange, state } from "./state.js";

const LATEST = 40;
const results = [];
let current = null;
let queue = [];
let isWorking = false;
let isPaused = true;

function card(result) {
  const image = result.links.thumbnail ? el("img", { src: `${result.links.thumbnail}?side=200`, alt: "", loading: "lazy" }) : null;
  const label = result.label ? el("span", { class: "label", data: { label: result.label } }, result.label) : number(result.score);
  return el("button", { type: "button", role: "listitem", class: `card${result === current ? " selected" : ""}`, onclick: () => show(result) },
    image, el("span", { class: "line" }, pill(result.verdict), label));
}

function drawStrip() {
  $("strip").replaceChildren(...results.map(card));
}

// `isBrief`: others follow at once, so nothing is asked that costs the server time.
async function show(result, isBrief = false) {
  current = result;
  drawStrip();
  await Promise.all([showStage($("stage"), result), showResult($("result"), result, changed, isBrief)]);
}

function changed(fresh) {
  const place = results.findIndex((each) => each.id === fresh.id);
  if (place >= 0) results[place] = fresh;
  if (current && current.id === fresh.id) current = fresh;
  drawStrip();
}

function drawEmpty() {
  current = null;
  $("result").replaceChildren();
  $("stage").replaceChildren(el("p", { class: "empty" },
    state.product ? "Drop images here, paste one, or use the camera." : "There is no product yet. Enrol one from ten photos of good parts."));
}

async function inspectOne(blob, name) {
  const result = await inspectImage(state.product, blob, name);
  results.unshift(result);
  results.length = Math.min(results.length, LATEST);
  await show(result, queue.length > 0 || !isPaused);
  return result;
}

async function work() {
  if (isWorking) return;
  isWorking = true;
  const total = queue.length;
  let failed = 0;
  const counts = {};
  while (queue.length) {
    const { blob, name } = queue.shift();
    try {
      const { verdict } = await inspectOne(blob, name);
      counts[verdict] = (counts[verdict] || 0) + 1;
    } catch (error) {
      failed += 1;
      say(error.message);
    }
    $("inspect-state").textContent = queue.length ? `${counted(queue.length, "image")} to go` : "";
  }
  isWorking = false;
  const text = Object.entries(counts).map(([verdict, count]) => `${count} ${verdict}`).join(", ");
  $("inspect-state").textContent = `${text}${failed ? `${text ? ", " : ""}${failed} not inspected` : ""}`;
  $("inspect-state").dataset.done = String(total);
}

export function inspectFiles(files) {
  const images = [...files];
  if (!state.product) { say("There is no product yet. Enrol one first."); return; }
  queue.push(...images.map((file) => ({ blob: file, name: file.name })));
  work();
}

async function runCamera() {
  let count = 0;
  const started = performance.now();
  while (!isPaused && $("video").srcObject) {
    try {
      await inspectOne(await grab($("video")), `camera ${new Date().toISOString()}.jpg`);
      count += 1;
      $("inspect-state").textContent = `${((1000 * count) / (performance.now() - started)).toFixed(1)} images a second`;
    } catch (error) {
      say(error.message);
      pauseCamera(true);
    }
  }
}

function pauseCamera(pause) {
  isPaused = pause;
  $("camera-pause").textContent = pause ? "Go on" : "Pause";
  $("camera-pause").setAttribute("aria-pressed", String(pause));
  if (pause) $("inspect-state").textContent = "paused: the image stays until you go on";
  else runCamera();
}

async function toggleCamera() {
  const isOpen = Boolean($("video").srcObject);
  if (isOpen) {
    isPaused = true;
    closeCamera($("video"));
  } else if (!(await openCamera($("video")))) return;
  $("camera-start").textContent = isOpen ? "Camera" : "Camera off";
  for (const id of ["camera-pause", "camera-snap"]) $(id).hidden = isOpen;
  if (!isOpen) pauseCamera(true);
}

export const togglePause = () => { if ($("video").srcObject) pauseCamera(!isPaused); };

export function act(key) {
  if (!current) return;
  const label = key === "u" ? null : labelFor(key, current);
  if (key === "u" || label) sendFeedback(current, label, (fresh) => { changed(fresh); showResult($("result"), fresh, changed); });
}

export function startInspect() {
  $("choose").addEventListener("click", () => $("files").click());
  $("files").addEventListener("change", () => { inspectFiles($("files").files); $("files").value = ""; });
  $("camera-start").addEventListener("click", toggleCamera);
  $("camera-pause").addEventListener("click", togglePause);
  $("camera-snap").addEventListener("click", async () => {
    pauseCamera(true);
    inspectFiles([new File([await grab($("video"))], "camera.jpg", { type: "image/jpeg" })]);
  });
  const area = $("inspect");
  area.addEventListener("dragover", (event) => { event.preventDefault(); $("stage").classList.add("over"); });
  area.addEventListener("dragleave", () => $("stage").classList.remove("over"));
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    $("stage").classList.remove("over");
    inspectFiles(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files || [])];
    if (files.length && !area.hidden) inspectFiles(files);
  });
  let product = null;
  onChange(() => {
    if (state.product === product) return;
    product = state.product;
    queue = [];
    results.length = 0;
    drawStrip();
    drawEmpty();
  });
}
