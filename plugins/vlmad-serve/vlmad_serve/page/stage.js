// An image with its heat and the outlines of its regions; all three belong to one result, so they are never out of step.
import { $, el, svg } from "./dom.js";

const view = { opacity: 1, outlines: true };
const stages = new Set();

function apply() {
  for (const stage of stages) {
    const heat = stage.querySelector(".heat");
    const outlines = stage.querySelector(".outlines");
    if (heat) heat.style.opacity = view.opacity;
    if (outlines) outlines.style.display = view.outlines ? "" : "none";
  }
  $("opacity").value = 100 * view.opacity;
  $("outlines").checked = view.outlines;
}

function path(rings) {
  return rings.map((ring) => `M${ring.map(([x, y]) => `${x} ${y}`).join("L")}Z`).join("");
}

export function showStage(stage, result) {
  stages.add(stage);
  const { links, width, height } = result;
  if (!links.image) {
    stage.replaceChildren(el("p", { class: "empty" }, "The picture was deleted to make room; its numbers are still here."));
    return Promise.resolve();
  }
  const photo = el("img", { src: `${links.thumbnail}?side=1600`, alt: `The image ${result.name}` });
  const heat = el("img", { src: links.heat, class: "heat", alt: "" });
  const outlines = svg("svg", { class: "outlines", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" });
  for (const region of result.regions) {
    const d = path(region.polygon);
    outlines.append(svg("path", { d, class: "halo" }), svg("path", { d, class: "edge" }));
  }
  const frame = el("div", { class: "frame", style: { "--w": width, "--h": height } }, photo, heat, outlines);
  // Shown when photo and heat are both there.
  return Promise.allSettled([photo.decode(), heat.decode()]).then(() => {
    stage.replaceChildren(frame);
    apply();
  });
}

export const toggleHeat = () => { view.opacity = view.opacity > 0 ? 0 : 1; apply(); };
export const toggleOutlines = () => { view.outlines = !view.outlines; apply(); };

export function startStage() {
  $("opacity").addEventListener("input", () => { view.opacity = $("opacity").value / 100; apply(); });
  $("outlines").addEventListener("change", () => { view.outlines = $("outlines").checked; apply(); });
}
