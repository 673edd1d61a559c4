// Scores of the normal images above the axis, of these images below it, and the threshold that a person can move.
const scored = ROWS.filter((row) => row.score !== null).map((row) => row.score);
const normals = CALIBRATION ? CALIBRATION.normals : [];
const DOMAIN = domain([...scored, ...normals, ...(recorded.threshold === null ? [] : [recorded.threshold])]);
const N_BINS = 56;
const HEIGHT = 216;
const AXIS = normals.length ? 100 : HEIGHT - 22;

function domain(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return [0, 1];
  const margin = (high - low) * 0.04 || Math.abs(high) * 0.1 || 0.5;
  return [low - margin, high + margin];
}

// Scores with the same number of decimals, so that a column of them can be compared.
const DECIMALS = Math.min(8, Math.max(0, 3 - Math.floor(Math.log10(Math.max(...DOMAIN.map(Math.abs)) || 1))));
const scoreText = (score) => (score === null ? "–" : score.toFixed(DECIMALS));

function binned(values) {
  const bins = new Array(N_BINS).fill(0);
  const [low, high] = DOMAIN;
  for (const value of values) bins[Math.min(N_BINS - 1, Math.floor(((value - low) / (high - low)) * N_BINS))] += 1;
  return bins;
}

// About so many round numbers within the domain.
function ticks(count) {
  const rough = (DOMAIN[1] - DOMAIN[0]) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((each) => each * power >= rough) * power;
  const found = [];
  for (let i = Math.ceil(DOMAIN[0] / step); i * step <= DOMAIN[1] && found.length < 50; i += 1) found.push(i * step);
  return found;
}

let plotWidth = 0;
const xOf = (value) => ((value - DOMAIN[0]) / (DOMAIN[1] - DOMAIN[0])) * plotWidth;
const valueAt = (x) => DOMAIN[0] + (Math.min(plotWidth, Math.max(0, x)) / plotWidth) * (DOMAIN[1] - DOMAIN[0]);

function bars(bins, room, isUp, className, what) {
  const most = Math.max(1, ...bins);
  const width = plotWidth / N_BINS;
  const group = svg("g", { class: className });
  bins.forEach((count, i) => {
    if (!count) return;
    const height = Math.max(2, (count / most) * room);
    const y = isUp ? AXIS - height : AXIS;
    const bar = svg("rect", { x: i * width + 0.5, y, width: Math.max(1, width - 1), height });
    const [from, to] = [i, i + 1].map((edge) => number(valueAt(edge * width)));
    bar.append(svg("title", {}, `${counted(count, what)} from ${from} to ${to}`));
    group.append(bar);
  });
  return group;
}

function drawHistogram() {
  const plot = $("histogram");
  plotWidth = plot.clientWidth;
  if (!plotWidth) return;
  plot.replaceChildren();
  plot.setAttribute("viewBox", `0 0 ${plotWidth} ${HEIGHT}`);
  if (normals.length) {
    plot.append(bars(binned(normals), AXIS - 16, true, "normals", "normal image"));
    plot.append(bars(binned(scored), HEIGHT - AXIS - 32, false, "images", "image"));
    plot.append(svg("text", { x: 2, y: 11 }, `${counted(normals.length, "normal image")} of the calibration`));
    plot.append(svg("text", { x: 2, y: HEIGHT - 20 }, `${counted(scored.length, "image")} of this report`));
  } else {
    plot.append(bars(binned(scored), AXIS - 20, true, "images", "image"));
    plot.append(svg("text", { x: 2, y: 11 }, `${counted(scored.length, "image")} of this report`));
  }
  plot.append(svg("line", { x1: 0, x2: plotWidth, y1: AXIS, y2: AXIS, class: "axis" }));
  for (const value of ticks(plotWidth < 480 ? 4 : 8)) {
    const x = Math.min(plotWidth - 12, Math.max(12, xOf(value)));
    plot.append(svg("text", { x, y: HEIGHT - 4, "text-anchor": "middle", class: "tick" }, number(value)));
  }
  plot.append(svg("g", { id: "marks" }));
  drawThreshold();
}

function mark(value, className, text) {
  const x = xOf(value);
  const isLeft = x > plotWidth - 120;
  const group = svg("g", { class: className });
  group.append(svg("line", { x1: x, x2: x, y1: 14, y2: HEIGHT - 16 }));
  group.append(svg("text", { x: isLeft ? x - 13 : x + 13, y: plotWidth < 480 ? 36 : 20, "text-anchor": isLeft ? "end" : "start" }, text));
  return group;
}

function drawThreshold() {
  const marks = $("marks");
  if (!marks) return;
  marks.replaceChildren();
  const slider = $("slider");
  slider.setAttribute("aria-valuemin", DOMAIN[0]);
  slider.setAttribute("aria-valuemax", DOMAIN[1]);
  if (state.threshold === null) {
    slider.setAttribute("aria-valuetext", "no threshold");
    slider.style.left = `${plotWidth}px`;
    return;
  }
  if (state.review !== null && state.review < state.threshold) marks.append(mark(state.review, "review", "review"));
  if (state.isMoved && recorded.threshold !== null) marks.append(mark(recorded.threshold, "recorded", ""));
  const group = mark(state.threshold, "threshold", `reject above ${scoreText(state.threshold)}`);
  marks.append(group);
  slider.style.left = `${Math.min(plotWidth, Math.max(0, xOf(state.threshold)))}px`;
  slider.setAttribute("aria-valuenow", state.threshold);
  slider.setAttribute("aria-valuetext", number(state.threshold));
}

function startHistogram() {
  const area = $("plot");
  const place = (event) => moveThreshold(valueAt(event.clientX - area.getBoundingClientRect().left));
  area.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    area.setPointerCapture(event.pointerId);
    $("slider").focus({ preventScroll: true });
    place(event);
    event.preventDefault();
  });
  area.addEventListener("pointermove", (event) => {
    if (area.hasPointerCapture(event.pointerId)) place(event);
  });
  $("slider").addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 10, PageDown: -10 }[event.key];
    if (steps === undefined) return;
    const from = state.threshold === null ? DOMAIN[1] : state.threshold;
    moveThreshold(from + (steps * (event.shiftKey ? 10 : 1) * (DOMAIN[1] - DOMAIN[0])) / 400);
    event.preventDefault();
    event.stopPropagation();
  });
  new ResizeObserver(drawHistogram).observe(area);
  drawers.push(drawThreshold);
}
