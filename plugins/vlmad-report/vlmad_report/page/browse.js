// Grid and table of all images that pass the filters; only what is on the screen is in the document.
const GAP = 12;
const cells = new Map();
const layout = { view: "", columns: 1, width: 0, height: 60 };

let drawnWidth = 0;
function measure() {
  const width = $("browse").clientWidth;
  if (state.view === "table") {
    Object.assign(layout, { columns: 1, width, height: width < 640 ? 76 : 60 });
    return;
  }
  const columns = Math.max(2, Math.floor((width + GAP) / (192 + GAP)));
  const cell = (width - GAP * (columns - 1)) / columns;
  Object.assign(layout, { columns, width: cell, height: Math.round(cell * 0.76) + 62 + GAP });
}

function picture(row) {
  const box = el("span", { class: "thumb" });
  const thumb = pictureOf(row, "thumb");
  if (!thumb) {
    box.append(el("span", { class: "none" }, "no picture"));
    return box;
  }
  box.append(el("img", { src: thumb, alt: "", decoding: "async", class: "photo" }));
  const heat = pictureOf(row, "heat");
  if (heat) box.append(el("img", { src: heat, alt: "", decoding: "async", class: "heat" }));
  return box;
}

function caption(row) {
  const said = Feedback.labelOf(row);
  return el("span", { class: "judged", data: { label: said }, title: said && `You: ${said}` }, said ? `● ${said}` : "");
}

function makeCell(row, position) {
  const title = shown(row.path);
  const score = el("span", { class: "score" }, scoreText(row.score));
  const name = el("span", { class: "name", title }, shown(row.file));
  const common = { class: "cell", type: "button", data: { index: row.index }, onclick: () => openDetail(position) };
  if (state.view === "grid") {
    const line = el("span", { class: "line" }, pill(row.label), score);
    return el("button", common, picture(row), line, el("span", { class: "line" }, name, caption(row)));
  }
  return el(
    "button", common, picture(row), pill(row.label), score,
    el("span", { class: "number p" }, row.p === null ? "–" : number(row.p)),
    el("span", { class: "number region" }, row.regions ? area(row.region) : "–"),
    el("span", { class: "folder" }, shown(row.folder)), name, caption(row),
  );
}

function removeCell(position) {
  cells.get(position).cell.remove();
  cells.delete(position);
}

// All that a cell shows of its image that can change.
const signature = (row) => `${row.index} ${row.label} ${Feedback.labelOf(row)}`;

function drawBrowse() {
  const before = JSON.stringify(layout);
  measure();
  layout.view = state.view;
  if (JSON.stringify(layout) !== before) [...cells.keys()].forEach(removeCell);
  const browse = $("browse");
  drawnWidth = browse.clientWidth;
  browse.dataset.view = state.view;
  browse.style.height = `${Math.ceil(state.shown.length / layout.columns) * layout.height}px`;
  $("head").hidden = state.view !== "table";
  $("empty").hidden = state.shown.length > 0;
  $("shown").textContent = state.shown.length === ROWS.length
    ? counted(ROWS.length, "image") : `${state.shown.length} of ${counted(ROWS.length, "image")}`;
  drawVisible();
}

function drawVisible() {
  const top = -$("browse").getBoundingClientRect().top;
  const first = Math.max(0, Math.floor(top / layout.height) - 2) * layout.columns;
  const last = Math.min(
    state.shown.length, (Math.ceil((top + window.innerHeight) / layout.height) + 2) * layout.columns,
  );
  for (const [position, { shows }] of cells) {
    if (position < first || position >= last || shows !== signature(state.shown[position])) removeCell(position);
  }
  for (let position = first; position < last; position += 1) {
    if (cells.has(position)) continue;
    const cell = makeCell(state.shown[position], position);
    const column = position % layout.columns;
    const y = Math.floor(position / layout.columns) * layout.height;
    cell.style.transform = `translate(${column * (layout.width + GAP)}px, ${y}px)`;
    cell.style.width = `${layout.width}px`;
    cell.style.height = `${layout.height - (state.view === "grid" ? GAP : 0)}px`;
    cells.set(position, { cell, shows: signature(state.shown[position]) });
    $("browse").append(cell);
  }
  markSelected();
}

function markSelected() {
  cells.forEach(({ cell }, position) => cell.classList.toggle("selected", position === state.selected));
}

function moveSelected(by) {
  if (!state.shown.length) return;
  state.selected = Math.min(state.shown.length - 1, Math.max(0, state.selected + by));
  const top = $("browse").getBoundingClientRect().top;
  const y = top + Math.floor(state.selected / layout.columns) * layout.height;
  const bar = $("tools").getBoundingClientRect().height;
  if (y < bar) window.scrollBy(0, y - bar - 8);
  else if (y + layout.height > window.innerHeight) window.scrollBy(0, y + layout.height - window.innerHeight + 8);
  drawVisible();
}

function startBrowse() {
  let isScrolling = false;
  window.addEventListener("scroll", () => {
    if (isScrolling) return;
    isScrolling = true;
    requestAnimationFrame(() => {
      isScrolling = false;
      drawVisible();
    });
  }, { passive: true });
  new ResizeObserver(() => {
    if ($("browse").clientWidth !== drawnWidth) drawBrowse();
  }).observe($("browse"));
  drawers.push(drawBrowse);
}
