// What is promised at a threshold, in words; the numbers come from Python and are only looked up here.
function promiseText() {
  if (!CALIBRATION) {
    return state.threshold === null
      ? "There is no calibration, so nothing is decided and nothing is promised. Move the line to try a threshold."
      : "There is no calibration, so nothing is promised at this threshold.";
  }
  if (!state.isMoved && CALIBRATION.promise) return CALIBRATION.promise;
  const n = normals.length;
  const rank = Rule.rank(normals, state.threshold);
  if (rank > n) return "This is below all normal images: nothing is promised.";
  const [rate, proved, sure] = CALIBRATION.promises[rank - 1];
  const above = `${rank - 1} of ${n} normal images score higher.`;
  const confidence = percent(CALIBRATION.confidence || 0.95);
  if (CALIBRATION.source === null) return above;
  if (CALIBRATION.source === "held-out") {
    return `At most ${percent(rate)} of good images are rejected on average, at most ${percent(sure)} with a confidence `
      + `of ${confidence}. ${above}`;
  }
  const end = proved === null ? "nothing is proved for this detector" : `proved on average is at most ${percent(proved)}`;
  return `About ${percent(rate)} of good images are expected to be rejected; ${end}. ${above}`;
}

function tally() {
  const now = { reject: 0, review: 0 };
  const before = { reject: 0, review: 0 };
  for (const row of ROWS) {
    if (row.label in now) now[row.label] += 1;
    if (row.verdict in before) before[row.verdict] += 1;
  }
  return { now, before };
}

function drawPromise() {
  const { now, before } = tally();
  const was = state.isMoved ? ` (${before.reject} as recorded)` : "";
  const review = now.review ? `, ${now.review} for review` : "";
  $("alarms").textContent = state.threshold === null && !now.reject
    ? `${counted(scored.length, "image")} with a score, no threshold`
    : `${now.reject} of ${counted(scored.length, "image")} rejected${was}${review}`;
  $("promise").textContent = promiseText();
  const { total, falseAlarms, missed } = Feedback.tally();
  $("known").textContent = total
    ? `Of ${counted(total, "image")} that you decided: ${counted(falseAlarms, "false alarm")}, ${missed} missed at this threshold.`
    : "";
  $("moved").hidden = !state.isMoved || !CALIBRATION;
  $("reset").hidden = !state.isMoved;
  if (document.activeElement !== $("threshold")) {
    $("threshold").value = state.threshold === null ? "" : Number(state.threshold.toPrecision(8));
  }
  const choice = (CALIBRATION ? CALIBRATION.choices : []).findIndex(
    (each) => each.threshold === state.threshold && each.review_threshold === state.review,
  );
  $("rate").value = state.isMoved || choice < 0 ? String(choice) : String(recordedChoice());
}

function recordedChoice() {
  return CALIBRATION.choices.findIndex((each) => each.rate === CALIBRATION.false_alarms);
}

function startPromise() {
  const rates = CALIBRATION ? CALIBRATION.choices : [];
  $("rate").append(el("option", { value: "-1" }, CALIBRATION ? "moved by hand" : "not calibrated"));
  rates.forEach((each, i) => {
    const isRecorded = each.rate === CALIBRATION.false_alarms ? " (as calibrated)" : "";
    $("rate").append(el("option", { value: i }, `${percent(each.rate)}${isRecorded}`));
  });
  $("rate").disabled = !rates.length;
  $("rate").addEventListener("change", () => {
    const each = rates[Number($("rate").value)];
    if (each) moveThreshold(each.threshold, each.review_threshold);
  });
  $("threshold").addEventListener("change", () => {
    const value = Number($("threshold").value);
    if ($("threshold").value !== "" && Number.isFinite(value)) moveThreshold(value);
  });
  $("reset").addEventListener("click", () => moveThreshold(recorded.threshold, recorded.review));
  drawers.push(drawPromise);
}
