// Scores of the normal images above the axis, of the latest images below it, and two thresholds.
import { $, counted, number, svg } from "./dom.js";

const BINS = 56;
const HEIGHT = 220;
const AXIS = 112;

function domain(values) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const margin = (high - low) * 0.05 || Math.abs(high) * 0.1 || 0.5;
  return values.length ? [low - margin, high + margin] : [0, 1];
}

export function drawHistogram({ normals, scores, used, chosen }) {
  const plot = $("histogram");
  const width = plot.clientWidth || 600;
  const values = scores.map(([score]) => score);
  const thresholds = [used, chosen].filter((value) => value !== null);
  const [low, high] = domain([...normals, ...values.slice(0, 5000), ...thresholds]);
  const x = (value) => ((value - low) / (high - low)) * width;
  const bars = (list, room, isUp, className, what) => {
    const bins = new Array(BINS).fill(0);
    for (const value of list) bins[Math.min(BINS - 1, Math.max(0, Math.floor((BINS * (value - low)) / (high - low))))] += 1;
    const most = Math.max(1, ...bins);
    const group = svg("g", { class: className });
    bins.forEach((count, i) => {
      if (!count) return;
      const height = Math.max(2, (count / most) * room);
      const bar = svg("rect", { x: (i * width) / BINS + 0.5, y: isUp ? AXIS - height : AXIS, width: Math.max(1, width / BINS - 1), height });
      bar.append(svg("title", {}, counted(count, what)));
      group.append(bar);
    });
    return group;
  };
  plot.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  plot.replaceChildren(
    bars(normals, AXIS - 22, true, "normals", "normal image"),
    bars(values, HEIGHT - AXIS - 40, false, "images", "image"),
    svg("text", { x: 2, y: 12 }, `${counted(normals.length, "normal image")}`),
    svg("text", { x: 2, y: HEIGHT - 22 }, `${counted(values.length, "latest image")}`),
    svg("line", { x1: 0, x2: width, y1: AXIS, y2: AXIS, class: "axis" }),
    svg("text", { x: 2, y: HEIGHT - 4 }, number(low)),
    svg("text", { x: width - 2, y: HEIGHT - 4, "text-anchor": "end" }, number(high)),
  );
  for (const [score, label] of scores) {
    if (label) plot.append(svg("circle", { cx: x(score), cy: HEIGHT - 34, r: 4, class: label }, svg("title", {}, `${label}, score ${number(score)}`)));
  }
  if (used !== null) plot.append(svg("line", { x1: x(used), x2: x(used), y1: 16, y2: HEIGHT - 18, class: "used" }));
  if (chosen !== null) {
    const isRight = x(chosen) > width - 140;
    plot.append(svg("line", { x1: x(chosen), x2: x(chosen), y1: 16, y2: HEIGHT - 18, class: "chosen" }),
      svg("text", { x: x(chosen) + (isRight ? -6 : 6), y: 28, "text-anchor": isRight ? "end" : "start" }, `reject above ${number(chosen)}`));
  }
}
