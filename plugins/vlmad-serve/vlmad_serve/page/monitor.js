// Monitor: how the detector does by what people said, the reject fraction, the drift test, versions and the log.
import { getJson, person, post } from "./api.js";
import { $, counted, el, number, percent, say, shown, svg, time } from "./dom.js";
import { onChange, reload, state } from "./state.js";
import { onOpen, openName } from "./tabs.js";

const HEIGHT = 160;

function tile(name, value, text) {
  return el("div", { class: "tile" }, el("span", { class: "quiet" }, name), el("b", {}, value), el("span", { class: "quiet" }, text));
}

function rateTile(name, rate, what) {
  if (!rate.total) return tile(name, "–", `nobody labelled one yet`);
  const interval = `95 % interval ${percent(rate.low)} to ${percent(rate.high)}`;
  return tile(name, percent(rate.count / rate.total), `${rate.count} of ${rate.total} ${what}; ${interval}`);
}

function curve(id, values, top, className, mark) {
  const plot = $(id);
  const width = plot.clientWidth || 600;
  const x = (i) => 34 + ((width - 40) * (i + 0.5)) / Math.max(1, values.length);
  const y = (value) => HEIGHT - 20 - ((HEIGHT - 34) * Math.max(0, Math.min(value, top))) / top;
  plot.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  plot.replaceChildren(
    svg("line", { x1: 34, x2: width, y1: y(0), y2: y(0), class: "axis" }),
    svg("text", { x: 0, y: y(0) + 4 }, mark.zero),
    svg("text", { x: 0, y: y(top) + 4 }, mark.top),
  );
  if (mark.level) plot.append(svg("line", { x1: 34, x2: width, y1: y(mark.level), y2: y(mark.level), class: "used" }),
    svg("text", { x: width - 2, y: y(mark.level) - 5, "text-anchor": "end" }, mark.text));
  if (values.length) plot.append(svg("polyline", { class: className, points: values.map((value, i) => `${x(i)},${y(value)}`).join(" ") }));
  values.forEach((value, i) => plot.append(svg("circle", { cx: x(i), cy: y(value), r: 3, class: id === "fraction" ? "defect" : "point" }, svg("title", {}, mark.title(i)))));
}

function drawCharts(found) {
  const shares = found.buckets.map((each) => each.reject / each.images);
  const top = Math.max(0.1, Math.ceil(10 * Math.max(0, ...shares)) / 10);
  curve("fraction", shares, top, "curve", {
    zero: "0 %", top: percent(top),
    title: (i) => `${time(found.buckets[i].start)}: ${found.buckets[i].reject} of ${found.buckets[i].images} rejected`,
  });
  const level = found.drift.log_level;
  const drifts = found.buckets.map((each) => each.drift);
  curve("drift", drifts, Math.max(1.2 * level, ...drifts), "curve plain", {
    zero: "0", top: "", level, text: "alarm", title: (i) => `${time(found.buckets[i].end)}: ${number(found.buckets[i].drift)}`,
  });
}

function drawVersions(versions) {
  const head = el("tr", {}, ...["version", "made", "why", "normal images", "threshold", "beside the one before", ""].map((text) => el("th", {}, text)));
  const rows = versions.map((each) => el("tr", {},
    el("td", {}, String(each.version)), el("td", {}, time(1000 * each.created)), el("td", {}, shown(each.reason)),
    el("td", {}, String(each.normals)), el("td", {}, number(each.threshold)),
    el("td", {}, each.shadow && each.shadow.images ? `${each.shadow.changed} of ${each.shadow.images} verdicts changed` : "–"),
    el("td", {}, each.is_active ? "in use" : el("button", { type: "button", onclick: () => activate(each.version) }, "Use again"))));
  $("versions").replaceChildren(head, ...rows);
}

async function activate(version) {
  try {
    await post(`/v1/detectors/${state.product}/versions/${version}/activate?by=${encodeURIComponent(person())}`);
    await reload();
    say(`Version ${version} is in use.`);
  } catch (error) {
    say(error.message);
  }
}

function change(entry) {
  const { before, after, comment, image } = entry.details;
  if (image !== undefined) return `image ${image}`;
  const from = before && before.threshold !== null ? number(before.threshold) : "none";
  const to = after && after.threshold !== null ? number(after.threshold) : "none";
  return `threshold ${from} → ${to}${comment ? `: ${comment}` : ""}`;
}

function drawAudit(entries) {
  const head = el("tr", {}, ...["when", "what", "who", "change"].map((text) => el("th", {}, text)));
  $("audit").replaceChildren(head, ...entries.map((entry) => el("tr", {},
    el("td", {}, time(1000 * entry.at)), el("td", {}, entry.action), el("td", {}, shown(entry.by)), el("td", {}, shown(change(entry))))));
}

export async function watchDrift() {
  if (!state.product) return;
  const found = await getJson(`/v1/detectors/${state.product}/statistics?recent=1`).catch(() => null);
  $("alarm").hidden = !found || !found.drift.is_alarm;
  if (found && found.drift.is_alarm) $("alarm").textContent = `Drift: since image ${found.drift.alarm_at} the scores of ${state.product} are others than before. Check camera, light and product; take note under Monitor.`;
}

async function open() {
  if (!state.product) { $("tiles").replaceChildren(el("p", { class: "quiet" }, "There is no product yet.")); return; }
  try {
    const path = `/v1/detectors/${state.product}`;
    const [found, versions, audit] = await Promise.all([
      getJson(`${path}/statistics`), getJson(`${path}/versions`), getJson(`/v1/audit?detector=${state.product}`),
    ]);
    const rejected = (found.verdicts.reject || 0) + (found.verdicts["not this part"] || 0);
    $("tiles").replaceChildren(
      tile("Inspected", String(found.images), found.images ? `${percent(rejected / found.images)} rejected, ${found.verdicts.review || 0} for review` : "nothing yet"),
      rateTile("Overkill", found.overkill, "confirmed good parts rejected"),
      rateTile("Missed", found.miss, "confirmed defects passed"),
      tile("Feedback", String(found.waiting_feedback), "not in memory and calibration yet"),
    );
    $("drift-text").textContent = found.drift.is_alarm
      ? `Alarm at image ${found.drift.alarm_at}: the camera, the light or the product changed. No threshold was moved.`
      : `No alarm after ${counted(found.drift.images, "image")}. Without a change there is an alarm in at most 1 % of the periods.`;
    $("acknowledge").hidden = !found.drift.is_alarm;
    drawCharts(found);
    drawVersions(versions);
    drawAudit(audit);
  } catch (error) {
    say(error.message);
  }
}

export function startMonitor() {
  $("acknowledge").addEventListener("click", async () => {
    await post(`/v1/detectors/${state.product}/drift/acknowledge?by=${encodeURIComponent(person())}`);
    await Promise.all([open(), watchDrift()]);
  });
  onOpen("monitor", open);
  onChange(() => { if (openName() === "monitor") open(); watchDrift(); });
  setInterval(() => { if (!document.hidden) watchDrift(); }, 15000);
}
