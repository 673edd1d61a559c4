// Controls, keyboard, theme, print, and the start.
function startChips() {
  const present = VERDICTS.filter((verdict) => ROWS.some((row) => row.verdict === verdict));
  const known = new Set([...present, "pass", "reject"]);
  if (recorded.review !== null) known.add("review");
  const chips = VERDICTS.filter((verdict) => known.has(verdict)).map((verdict) => {
    const count = el("b", {}, "0");
    const chip = el("button", { type: "button", class: "chip", "aria-pressed": "false", data: { verdict } }, pill(verdict), count);
    chip.addEventListener("click", () => {
      if (!state.verdicts.delete(verdict)) state.verdicts.add(verdict);
      refresh();
    });
    return chip;
  });
  $("chips").append(...chips);
  drawers.push(() => {
    const counts = {};
    for (const row of ROWS) if (passesFilters(row, true)) counts[row.label] = (counts[row.label] || 0) + 1;
    for (const chip of chips) {
      const { verdict } = chip.dataset;
      chip.querySelector("b").textContent = counts[verdict] || 0;
      chip.setAttribute("aria-pressed", String(state.verdicts.has(verdict)));
      chip.hidden = !present.includes(verdict) && !counts[verdict] && !state.verdicts.has(verdict);
    }
  });
}

function startFilters() {
  const folders = [...new Set(ROWS.map((row) => row.folder))].sort();
  folders.forEach((folder, i) => $("folder").append(el("option", { value: i }, shown(folder))));
  $("folder").closest("label").hidden = folders.length < 2;
  const hasRegions = ROWS.some((row) => row.regions);
  $("min-region").closest("label").hidden = !hasRegions;
  document.querySelector("#sort [value=region]").hidden = !hasRegions;
  const numeric = (id, name, otherwise) => $(id).addEventListener("input", () => {
    const value = $(id).value === "" ? otherwise : Number($(id).value);
    state[name] = Number.isFinite(value) ? value : otherwise;
    refresh();
  });
  numeric("min-score", "minScore", -Infinity);
  numeric("max-score", "maxScore", Infinity);
  numeric("min-region", "minRegion", 0);
  $("search").addEventListener("input", () => { state.text = $("search").value.toLowerCase(); refresh(); });
  $("folder").addEventListener("change", () => {
    state.folder = $("folder").value === "" ? "" : folders[Number($("folder").value)];
    refresh();
  });
  $("judged").addEventListener("change", () => { state.judged = $("judged").value; refresh(); });
  $("sort").addEventListener("change", () => setOrder($("sort").value));
  $("direction").addEventListener("click", () => { state.isDescending = !state.isDescending; refresh(); });
  for (const name of ["grid", "table"]) {
    $(`view-${name}`).addEventListener("click", () => { state.view = name; Store.set("view", name); refresh(); });
  }
  if (Store.get("view") === "table") state.view = "table";
  document.querySelectorAll("#head [data-sort]").forEach((button) => {
    button.addEventListener("click", () => setOrder(button.dataset.sort));
  });
  if (window.innerWidth <= 640) $("more").open = false;
  $("clear").addEventListener("click", clearFilters);
  drawers.push(drawFilters);
}

function setOrder(sort) {
  if (state.sort === sort) state.isDescending = !state.isDescending;
  else Object.assign(state, { sort, isDescending: sort === "score" || sort === "region" || sort === "verdict" || sort === "judged" });
  refresh();
}

function clearFilters() {
  Object.assign(state, { text: "", folder: "", minScore: -Infinity, maxScore: Infinity, minRegion: 0, judged: "" });
  state.verdicts.clear();
  for (const id of ["search", "folder", "min-score", "max-score", "min-region", "judged"]) $(id).value = "";
  refresh();
}

function drawFilters() {
  $("sort").value = state.sort;
  $("direction").textContent = state.isDescending ? "↓" : "↑";
  $("direction").setAttribute("aria-label", state.isDescending ? "highest first" : "lowest first");
  for (const name of ["grid", "table"]) $(`view-${name}`).setAttribute("aria-pressed", String(state.view === name));
  document.querySelectorAll("#head [data-sort]").forEach((button) => {
    const isSorted = button.dataset.sort === state.sort;
    button.setAttribute("aria-sort", isSorted ? (state.isDescending ? "descending" : "ascending") : "none");
  });
  $("clear").hidden = state.shown.length === ROWS.length && !state.verdicts.size;
}

const KEYS = {
  ArrowRight: () => go(1), ArrowLeft: () => go(-1), j: () => go(1), k: () => go(-1),
  ArrowDown: () => go($("detail").open ? 1 : layout.columns), ArrowUp: () => go($("detail").open ? -1 : -layout.columns),
  c: () => decide("confirm"), f: () => decide("false alarm"), m: () => decide("missed"),
  h: () => { view.opacity = view.opacity > 0 ? 0 : 1; applyView(); },
  o: () => { view.outlines = !view.outlines; applyView(); },
  t: () => { if (!$("detail").open) openDetail(state.selected); $("comment").focus(); },
  Enter: () => { if (!$("detail").open) openDetail(state.selected); },
  "/": () => { if (!$("detail").open) $("search").focus(); },
  "?": () => { if (!$("help").open) $("help").showModal(); },
};

function go(by) {
  if ($("detail").open) step(by);
  else moveSelected(by);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  const target = event.target;
  if (target.closest("textarea, select, input:not([type=checkbox]):not([type=range])")) {
    if (event.key === "Escape" || (event.key === "Enter" && !event.shiftKey)) {
      target.blur();
      event.preventDefault();
    }
    return;
  }
  if (target.matches("[type=range]") && event.key.startsWith("Arrow")) return;
  if (event.key === "Enter" && target.closest("button, summary, a") && !target.closest("#browse")) return;
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action || (event.repeat && !event.key.startsWith("Arrow"))) return;
  event.preventDefault();
  action();
}

function startTheme() {
  const apply = (theme) => {
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  };
  apply(Store.get("theme"));
  $("theme").addEventListener("click", () => {
    const isDark = getComputedStyle(document.documentElement).colorScheme === "dark";
    const theme = isDark ? "light" : "dark";
    apply(theme);
    Store.set("theme", theme);
  });
}

const MOST_PRINTED = 400;
function preparePrint() {
  const rows = state.shown.slice(0, MOST_PRINTED);
  const head = el("tr", {}, ...["", "verdict", "score", "region", "file", "decided", "comment"].map((text) => el("th", {}, text)));
  const body = rows.map((row) => el(
    "tr", {}, el("td", {}, picture(row)), el("td", {}, pill(row.label)), el("td", {}, scoreText(row.score)),
    el("td", {}, row.regions ? area(row.region) : "–"), el("td", {}, shown(row.path)),
    el("td", {}, Feedback.labelOf(row)), el("td", {}, shown(Feedback.commentOf(row))),
  ));
  const more = state.shown.length - rows.length;
  const rest = more > 0 ? el("p", {}, `${counted(more, "more image")} of the list not printed; filter the list to print others.`) : null;
  $("print").replaceChildren(...[el("table", {}, el("thead", {}, head), el("tbody", {}, ...body)), rest].filter(Boolean));
}

async function print() {
  preparePrint();
  $("print").classList.add("loading");
  await Promise.allSettled([...$("print").querySelectorAll("img")].map((image) => image.decode()));
  $("print").classList.remove("loading");
  window.print();
}

startTheme();
startFeedback();
startChips();
startFilters();
startHistogram();
startPromise();
startDetail();
startBrowse();
document.addEventListener("keydown", onKey);
window.addEventListener("beforeprint", () => { if (!$("print").childElementCount) preparePrint(); });
window.addEventListener("afterprint", () => $("print").replaceChildren());
$("print-button").addEventListener("click", print);
$("help-button").addEventListener("click", () => $("help").showModal());
$("help-close").addEventListener("click", () => $("help").close());
refresh();
