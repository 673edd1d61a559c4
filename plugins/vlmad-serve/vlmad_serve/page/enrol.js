// Enrol: photos of good parts become a product with a calibrated detector.
import { person, postForm, untilDone } from "./api.js";
import { closeCamera, grab, openCamera } from "./camera.js";
import { $, counted, el, percent, say, shown, Store } from "./dom.js";
import { openTab } from "./tabs.js";
import { detector, reload, state } from "./state.js";

let photos = [];

const nameOf = (text) => text.toLowerCase().normalize("NFKD").replace(/[^a-z0-9_]+/g, "-").replace(/^[-_]+|[-_]+$/g, "").slice(0, 48);

// A rate of 1 / k needs k - 1 normal images, so that a new one can be above all of them with that probability.
function countText(count) {
  if (!count) return "";
  const lowest = 1 / (count + 1);
  const next = count < 19 ? [0.05, 19] : count < 99 ? [0.01, 99] : null;
  const now = count < 4 ? "too few for a threshold" : `at best ${percent(lowest)} of good parts rejected`;
  const more = next ? `; ${percent(next[0])} needs ${next[1] - count} more` : "";
  return `${counted(count, "photo")}: ${now}${more}.`;
}

function draw() {
  $("enrol-photos").replaceChildren(...photos.map((photo) => el("figure", { class: photo.isOdd ? "odd" : "" },
    el("img", { src: photo.url, alt: shown(photo.file.name) }),
    el("button", { type: "button", "aria-label": `Remove ${shown(photo.file.name)}`, onclick: () => remove(photo) }, "✕"))));
  $("enrol-count").textContent = countText(photos.length);
  $("enrol-start").disabled = photos.length < 2 || !nameOf($("enrol-name").value);
  $("enrol-start").textContent = state.detectors.some((each) => each.name === nameOf($("enrol-name").value)) ? "Enrol again" : "Enrol";
}

function remove(photo) {
  URL.revokeObjectURL(photo.url);
  photos = photos.filter((each) => each !== photo);
  draw();
}

function add(files) {
  photos.push(...[...files].map((file) => ({ file, url: URL.createObjectURL(file) })));
  draw();
}

// A defect or another light among the normal images raises the threshold, so a person decides about them.
function showOdd() {
  const odd = photos.filter((photo) => photo.isOdd);
  $("enrol-odd").hidden = false;
  $("enrol-odd").replaceChildren(
    `${counted(odd.length, "photo")} stand${odd.length === 1 ? "s" : ""} out from the others: perhaps a defect, or another light. It raises the threshold. `,
    el("button", { type: "button", id: "enrol-without", onclick: () => { odd.forEach(remove); enrol(); } }, "Enrol again without"), " ",
    el("button", { type: "button", onclick: clear }, "Keep"));
}

function clear() {
  for (const { url } of photos) URL.revokeObjectURL(url);
  photos = [];
  draw();
  openTab("inspect");
}

async function enrol() {
  $("enrol-odd").hidden = true;
  const form = new FormData();
  const name = nameOf($("enrol-name").value);
  form.append("name", name);
  form.append("class_name", $("enrol-class").value.trim() || $("enrol-name").value.trim());
  form.append("by", person());
  for (const { file } of photos) form.append("files", file, file.name);
  $("enrol-start").disabled = true;
  $("enrol-progress").hidden = false;
  $("enrol-state").textContent = "The photos are sent.";
  try {
    const job = await postForm("/v1/detectors?wait=false", form);
    $("enrol-state").textContent = "The detector is fitted and calibrated.";
    const made = await untilDone(job, (share) => { $("enrol-progress").value = share; });
    Store.set("product", name);
    await reload(name);
    $("enrol-state").textContent = made.promise;
    const copies = made.copies ? `${counted(made.copies, "photo")} there twice, counted once. ` : "";
    say(copies + made.promise, 10);
    const odd = new Set(detector().outliers.map((each) => each.name));
    for (const photo of photos) photo.isOdd = odd.has(photo.file.name);
    if (photos.some((photo) => photo.isOdd)) showOdd();
    else clear();
  } catch (error) {
    $("enrol-state").textContent = error.message;
  } finally {
    $("enrol-progress").hidden = true;
    draw();
  }
}

async function toggleCamera() {
  const isOpen = Boolean($("enrol-video").srcObject);
  if (isOpen) closeCamera($("enrol-video"));
  else if (!(await openCamera($("enrol-video")))) return;
  $("enrol-camera").textContent = isOpen ? "Camera" : "Camera off";
  $("enrol-snap").hidden = isOpen;
}

export function startEnrol() {
  $("person").value = person();
  $("person").addEventListener("change", () => Store.set("person", $("person").value.trim()));
  $("enrol-name").addEventListener("input", draw);
  $("enrol-choose").addEventListener("click", () => $("enrol-files").click());
  $("enrol-files").addEventListener("change", () => { add($("enrol-files").files); $("enrol-files").value = ""; });
  $("enrol-camera").addEventListener("click", toggleCamera);
  $("enrol-snap").addEventListener("click", async () => {
    add([new File([await grab($("enrol-video"))], `photo ${photos.length + 1}.jpg`, { type: "image/jpeg" })]);
  });
  $("enrol-start").addEventListener("click", enrol);
  const area = $("enrol");
  area.addEventListener("dragover", (event) => { event.preventDefault(); $("enrol-drop").classList.add("over"); });
  area.addEventListener("dragleave", () => $("enrol-drop").classList.remove("over"));
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    $("enrol-drop").classList.remove("over");
    add(event.dataTransfer.files);
  });
}
