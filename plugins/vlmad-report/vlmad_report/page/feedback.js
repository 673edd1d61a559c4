// What a person says about images: kept in this browser, exported and read again as JSON.
const FORMAT = { format: "vlmad-feedback", version: 1 };
const LABELS = ["good", "defect", "other part"];

const Feedback = {
  entries: new Map(),
  isSaved: true,

  labelOf(row) {
    return Feedback.entries.get(row.path)?.label || "";
  },

  commentOf(row) {
    return Feedback.entries.get(row.path)?.comment || "";
  },

  matches(row, wanted) {
    const entry = Feedback.entries.get(row.path);
    if (wanted === "none") return !entry?.label;
    if (wanted === "any") return Boolean(entry?.label);
    if (wanted === "comment") return Boolean(entry?.comment);
    if (!entry?.label) return false;
    return Rule.judgement(row.label, entry.label) === wanted;
  },

  // The label an action means for a verdict, or "" where it means nothing.
  meaning(action, verdict) {
    if (action === "confirm") return { reject: "defect", pass: "good", "not this part": "other part" }[verdict] || "";
    if (action === "false alarm") return verdict === "pass" ? "" : "good";
    return verdict === "reject" ? "" : "defect";
  },

  set(row, change) {
    const before = Feedback.entries.get(row.path) || { label: "", comment: "" };
    const entry = { ...before, ...change, verdict: row.label, score: row.score };
    if (entry.label || entry.comment) Feedback.entries.set(row.path, entry);
    else Feedback.entries.delete(row.path);
    Feedback.isSaved = false;
    Feedback.keep();
    refresh();
  },

  keep() {
    Store.set(`feedback:${DATA.about.id}`, JSON.stringify([...Feedback.entries]));
    Feedback.draw();
  },

  load() {
    const known = new Set(ROWS.map((row) => row.path));
    try {
      const kept = JSON.parse(Store.get(`feedback:${DATA.about.id}`) || "[]");
      Feedback.entries = new Map(kept.filter(([path]) => known.has(path)));
    } catch {
      Feedback.entries = new Map();
    }
  },

  tally() {
    const found = { total: 0, falseAlarms: 0, missed: 0 };
    for (const row of ROWS) {
      const label = Feedback.labelOf(row);
      if (!label) continue;
      found.total += 1;
      if (label === "good" && row.label === "reject") found.falseAlarms += 1;
      if (label !== "good" && row.label === "pass") found.missed += 1;
    }
    return found;
  },

  document() {
    const images = ROWS.filter((row) => Feedback.entries.has(row.path)).map((row) => {
      const { label, comment, verdict, score } = Feedback.entries.get(row.path);
      const judgement = label ? Rule.judgement(verdict, label) : null;
      const sha256 = detailOf(row).sha256;
      return { path: row.path, sha256, score, verdict, label: label || null, judgement, comment };
    });
    const { threshold, review } = state;
    return { ...FORMAT, report: DATA.about, exported: new Date().toISOString(), threshold, review_threshold: review, images };
  },

  export() {
    const text = JSON.stringify(Feedback.document(), null, 1);
    const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    const link = el("a", { href: url, download: `feedback-${DATA.about.id.slice(0, 8)}.json` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
    Feedback.isSaved = true;
    say(`${counted(Feedback.entries.size, "image")} exported.`);
  },

  // Gives a sentence about what was read.
  import(text) {
    let read;
    try {
      read = JSON.parse(text);
    } catch {
      return "This file is not JSON; nothing was read.";
    }
    if (read?.format !== FORMAT.format || read.version !== FORMAT.version || !Array.isArray(read.images)) {
      return "This file is no feedback of a vlmad report; nothing was read.";
    }
    const rows = new Map(ROWS.map((row) => [row.path, row]));
    const byContent = new Map();
    const at = (image) => {
      if (rows.has(image.path)) return rows.get(image.path);
      if (!image.sha256) return undefined;
      if (!byContent.size) ROWS.forEach((row) => byContent.set(detailOf(row).sha256, row));
      return byContent.get(image.sha256);
    };
    let n = 0;
    for (const image of read.images) {
      const row = image && typeof image.path === "string" ? at(image) : undefined;
      const label = LABELS.includes(image?.label) ? image.label : "";
      const comment = typeof image?.comment === "string" ? image.comment : "";
      if (!row || !(label || comment)) continue;
      const verdict = VERDICTS.includes(image.verdict) ? image.verdict : row.label;
      Feedback.entries.set(row.path, { label, comment, verdict, score: row.score });
      n += 1;
    }
    Feedback.keep();
    refresh();
    const others = read.images.length - n;
    return `${counted(n, "image")} read${others ? `; ${others} are not in this report, or say nothing` : ""}.`;
  },

  draw() {
    const n = Feedback.entries.size;
    $("export").textContent = n ? `Export feedback (${n})` : "Export feedback";
    $("export").disabled = !n;
    $("kept").hidden = Store.works;
  },
};

let sayTimer = 0;
function say(text) {
  $("message").textContent = text;
  $("message").hidden = false;
  clearTimeout(sayTimer);
  sayTimer = setTimeout(() => { $("message").hidden = true; }, 4000);
}

function startFeedback() {
  Feedback.load();
  $("export").addEventListener("click", Feedback.export);
  $("import").addEventListener("click", () => $("import-file").click());
  $("import-file").addEventListener("change", async () => {
    const [file] = $("import-file").files;
    $("import-file").value = "";
    if (file) say(Feedback.import(await file.text()));
  });
  window.addEventListener("beforeunload", (event) => {
    if (!Store.works && !Feedback.isSaved) event.preventDefault();
  });
  Feedback.draw();
}
