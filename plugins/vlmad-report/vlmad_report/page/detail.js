// One image: photograph, heat, outlines, why, and what a person says about it.
const view = { opacity: Number(Store.get("opacity") ?? 1), outlines: true, goesOn: Store.get("goes-on") === "yes" };

function openDetail(position) {
  if (!state.shown.length) return;
  state.selected = position;
  if (!$("detail").open) $("detail").showModal();
  drawDetail();
}

function step(by) {
  const next = Math.min(state.shown.length - 1, Math.max(0, state.selected + by));
  if (next !== state.selected) openDetail(next);
}

function drawDetail() {
  const row = state.shown[state.selected];
  if (!row || !$("detail").open) return;
  const detail = detailOf(row);
  $("position").textContent = `${state.selected + 1} of ${state.shown.length}`;
  $("detail-name").textContent = shown(row.file);
  $("detail-name").title = shown(row.path);
  $("previous").disabled = state.selected === 0;
  $("next").disabled = state.selected === state.shown.length - 1;
  drawStage(row, detail);
  $("why").replaceChildren(...[
    summary(row, detail), regionList(detail), reasonList(row, detail), nearest(row, detail), facts(row, detail),
  ].filter(Boolean));
  drawDecision(row);
}

function drawStage(row, detail) {
  const stage = $("stage");
  if (stage.dataset.index === String(row.index)) return applyView();
  stage.dataset.index = row.index;
  stage.classList.remove("zoomed");
  stage.replaceChildren();
  const photo = pictureOf(row, "photo");
  const heat = pictureOf(row, "heat");
  $("opacity").disabled = !heat;
  $("outlines").disabled = !detail.regions.length;
  $("fused").hidden = Boolean(heat) || !photo || row.score === null;
  if (!photo) {
    stage.append(el("p", { class: "none" }, detail.error ? shown(detail.error) : "There is no picture of this image."));
    return undefined;
  }
  const frame = el("div", { class: "frame" });
  frame.append(el("img", { class: "photo", src: photo, alt: `Image ${shown(row.file)}` }));
  if (heat) frame.append(el("img", { class: "heat", src: heat, alt: "" }));
  if (heat && detail.regions.length && detail.width && detail.height) frame.append(outlines(detail));
  stage.append(frame);
  const size = (width, height) => {
    stage.style.setProperty("--w", width);
    stage.style.setProperty("--h", height);
  };
  size(detail.width || 4, detail.height || 3);
  const image = frame.firstChild;
  image.addEventListener("load", () => size(image.naturalWidth, image.naturalHeight));
  return applyView();
}

function outlines(detail) {
  const drawing = svg("svg", {
    class: "outlines", viewBox: `0 0 ${detail.width} ${detail.height}`, preserveAspectRatio: "none", "aria-hidden": "true",
  });
  detail.regions.forEach((region, i) => {
    const [left, top, right, bottom] = region.box;
    const rings = region.rings.length ? region.rings : [[[left, top], [right, top], [right, bottom], [left, bottom]]];
    const d = rings.map((ring) => `M${ring.map((point) => point.join(" ")).join("L")}Z`).join("");
    for (const className of ["halo", "edge"]) drawing.append(svg("path", { d, class: className, data: { region: i } }));
  });
  return drawing;
}

function applyView() {
  const heat = document.querySelector("#stage .heat");
  if (heat) heat.style.opacity = view.opacity;
  document.querySelector("#stage .outlines")?.classList.toggle("hidden", !view.outlines);
  $("opacity").value = Math.round(100 * view.opacity);
  $("outlines").checked = view.outlines;
}

function summary(row, detail) {
  const p = CALIBRATION && row.score !== null ? Rule.pValue(normals, row.score) : row.p;
  const n = normals.length;
  const lines = [el("div", { class: "verdict-line" }, pill(row.label), el("span", { class: "score" }, scoreText(row.score)))];
  const threshold = state.isMoved ? state.threshold : detail.threshold ?? state.threshold;
  if (row.score !== null && threshold !== null && threshold !== undefined) {
    const side = row.score > threshold ? "above" : row.score < threshold ? "below" : "at";
    const isMoved = state.isMoved ? "moved threshold" : "threshold";
    lines.push(el("p", {}, `The score is ${side} the ${isMoved} ${scoreText(threshold)}.`));
  }
  if (n && row.score !== null) {
    const high = Rule.count(normals, row.score, false);
    lines.push(el("p", {}, `${high} of ${n} normal images score as high or higher (p\u00a0=\u00a0${number(p)}).`));
  } else if (p !== null && p !== undefined) lines.push(el("p", {}, `p = ${number(p)}`));
  if (row.label === "not this part") lines.push(el("p", {}, "As a whole the image is unlike every normal image."));
  if (row.label !== row.verdict) lines.push(el("p", { class: "quiet" }, `Recorded verdict: ${verdictName(row.verdict)}.`));
  if (detail.error) lines.push(el("p", {}, shown(detail.error)));
  detail.problems.forEach((text) => lines.push(el("p", { class: "quiet" }, `${text[0].toUpperCase()}${text.slice(1)}.`)));
  return el("section", {}, ...lines);
}

function regionList(detail) {
  if (!detail.regions.length) return null;
  const mark = (i, isOn) => document.querySelectorAll(`#stage [data-region="${i}"]`)
    .forEach((path) => path.classList.toggle("marked", isOn));
  const items = detail.regions.slice(0, 12).map((region, i) => el(
    "li", { onpointerenter: () => mark(i, true), onpointerleave: () => mark(i, false) },
    el("span", {}, `${area(region.percent)} of the image`),
    el("span", { class: "quiet" }, `${Math.round(region.area_px)} px`),
    el("span", { class: "number" }, number(region.score)),
  ));
  const more = detail.regions.length - items.length;
  if (more > 0) items.push(el("li", { class: "quiet" }, `and ${more} more`));
  return el("section", {}, el("h3", {}, counted(detail.regions.length, "region")), el("ol", { class: "regions" }, ...items));
}

function reasonList(row, detail) {
  if (!detail.reasons.length) return null;
  const most = Math.max(...detail.reasons.map(([, value]) => Math.abs(value ?? 0))) || 1;
  const decimals = Math.min(9, Math.max(0, 3 - Math.floor(Math.log10(most)))); // one scale for all: they are summed
  const items = detail.reasons.map(([label, value]) => {
    if (value === null) return el("li", { class: "text" }, shown(label));
    const bar = el("span", { class: value < 0 ? "bar minus" : "bar" });
    bar.style.width = `${(50 * Math.abs(value)) / most}%`;
    return el("li", {}, el("span", { class: "what" }, shown(label)), el("span", { class: "track" }, bar),
      el("span", { class: "number" }, (value > 0 ? "+" : "") + value.toFixed(decimals)));
  });
  const sum = detail.reasons.reduce((total, [, value]) => total + (value ?? 0), 0);
  const isWhole = row.score !== null && Math.abs(sum - row.score) <= 1e-4 * Math.max(1, Math.abs(row.score));
  const note = isWhole ? el("p", { class: "quiet" }, "In units of the score; together they are the score.") : null;
  return el("section", {}, el("h3", {}, "Why"), el("ul", { class: "reasons" }, ...items), note);
}

function nearest(row, detail) {
  const normal = pictureOf(row, "normal");
  if (detail.nearest === null || !normal) return null;
  const crop = pictureOf(row, "crop");
  const figure = (src, text) => el("figure", {}, el("img", { src, alt: text }), el("figcaption", {}, text));
  const pair = el("div", { class: "pair" }, crop ? figure(crop, "this image") : null, figure(normal, "nearest normal"));
  const path = detail.nearest ? el("p", { class: "quiet path" }, shown(detail.nearest)) : null;
  const text = `If the area around the highest value were as its nearest normals, the score would be ${scoreText(detail.without)}.`;
  const without = typeof detail.without === "number" ? el("p", {}, text) : null;
  return el("section", {}, el("h3", {}, "Nearest normal place"), pair, path, without);
}

function facts(row, detail) {
  const rows = [
    ["file", shown(row.path)],
    ["size", detail.width && detail.height ? `${detail.width} × ${detail.height} px` : null],
    ["confidence", !state.isMoved && detail.confidence !== null ? number(detail.confidence) : null],
    ["time", detail.milliseconds === null ? null : `${number(detail.milliseconds)} ms`],
    ["SHA-256", detail.sha256],
  ].filter(([, value]) => value);
  const list = el("dl", {}, ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  return el("details", {}, el("summary", {}, "File"), list);
}

const WORDS = {
  confirm: { reject: "Right: it has a defect", pass: "Right: it is good", "not this part": "Right: not this part" },
  "false alarm": { reject: "False alarm", "not this part": "False alarm", "": "It is good" },
  missed: { pass: "Missed: it has a defect", "": "It has a defect" },
};

function drawDecision(row) {
  const label = Feedback.labelOf(row);
  for (const button of document.querySelectorAll("#decide [data-action]")) {
    const { action } = button.dataset;
    const meaning = Feedback.meaning(action, row.label);
    button.hidden = !meaning;
    button.setAttribute("aria-pressed", String(Boolean(meaning) && label === meaning));
    button.querySelector("span").textContent = WORDS[action][row.label] || WORDS[action][""] || "";
  }
  if (document.activeElement !== $("comment")) $("comment").value = Feedback.commentOf(row);
  $("goes-on").checked = view.goesOn;
}

function decide(action) {
  const row = state.shown[state.selected];
  if (!row) return;
  const label = Feedback.meaning(action, row.label);
  if (!label) {
    say(`"${action}" does not fit the verdict "${verdictName(row.label)}".`);
    return;
  }
  const isSame = Feedback.labelOf(row) === label;
  Feedback.set(row, { label: isSame ? "" : label });
  if (!$("detail").open) say(isSame ? `${row.file}: taken back.` : `${shown(row.file)}: ${label}.`);
  if (view.goesOn && !isSame && $("detail").open) setTimeout(() => goOn(row), 150);
}

// A filter may have taken the image off the list by the decision; then the next one is shown already.
function goOn(row) {
  if (state.shown[state.selected] === row) step(1);
}

function startDetail() {
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("close").addEventListener("click", () => $("detail").close());
  $("detail").addEventListener("close", () => moveSelected(0));
  $("opacity").addEventListener("input", () => {
    view.opacity = Number($("opacity").value) / 100;
    Store.set("opacity", view.opacity);
    applyView();
  });
  $("outlines").addEventListener("change", () => {
    view.outlines = $("outlines").checked;
    applyView();
  });
  $("goes-on").addEventListener("change", () => {
    view.goesOn = $("goes-on").checked;
    Store.set("goes-on", view.goesOn ? "yes" : "no");
  });
  document.querySelectorAll("#decide [data-action]").forEach((button) => {
    button.addEventListener("click", () => decide(button.dataset.action));
  });
  $("comment").addEventListener("change", () => {
    Feedback.set(state.shown[state.selected], { comment: $("comment").value.trim() });
  });
  $("stage").addEventListener("click", (event) => {
    const frame = $("stage").querySelector(".frame");
    if (!frame) return;
    const box = frame.getBoundingClientRect();
    const place = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    if (!$("stage").classList.contains("zoomed")) {
      frame.style.transformOrigin = place.map((share) => `${100 * share}%`).join(" ");
    }
    $("stage").classList.toggle("zoomed");
  });
  const ramp = `linear-gradient(to right, ${DATA.ramp.join(", ")})`;
  $("ramp").style.backgroundImage = ramp;
  $("ramp-low").textContent = number(DATA.scale.low);
  $("ramp-high").textContent = number(DATA.scale.high);
  drawers.push(drawDetail);
}
