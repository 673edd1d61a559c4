// What is shown: labels follow from the threshold, the list from labels, filters and order. `refresh` draws once a frame.
const recorded = CALIBRATION
  ? { threshold: CALIBRATION.threshold, review: CALIBRATION.review_threshold }
  : { threshold: commonThreshold(), review: null };

const state = {
  threshold: recorded.threshold,
  review: recorded.review,
  isMoved: false,
  verdicts: new Set(),
  text: "",
  folder: "",
  minScore: -Infinity,
  maxScore: Infinity,
  minRegion: 0,
  judged: "",
  sort: "score",
  isDescending: true,
  view: "grid",
  shown: [],
  selected: 0,
};

// Without a calibration, the threshold that all verdicts have in common, if they have one.
function commonThreshold() {
  if (!DATA.n_details || ROWS.every((row) => row.verdict === "uncalibrated" || row.verdict === "error")) return null;
  const row = ROWS.find((each) => each.verdict === "reject" || each.verdict === "pass");
  return row ? detailOf(row).threshold : null;
}

function relabel() {
  for (const row of ROWS) {
    const isByScore = row.verdict !== "error" && row.verdict !== "not this part" && row.score !== null;
    row.label = state.isMoved && isByScore ? Rule.label(row.score, state.threshold, state.review) : row.verdict;
  }
}

const ORDERS = {
  score: (row) => (row.score === null ? -Infinity : row.score),
  region: (row) => row.region,
  verdict: (row) => -VERDICTS.indexOf(row.label),
  file: (row) => row.file,
  folder: (row) => row.folder,
  p: (row) => (row.p === null ? 2 : row.p),
  judged: (row) => Feedback.labelOf(row),
};

function passesFilters(row, exceptVerdict) {
  return (
    (exceptVerdict || !state.verdicts.size || state.verdicts.has(row.label)) &&
    (!state.text || row.search.includes(state.text)) &&
    (!state.folder || row.folder === state.folder) &&
    (row.score === null ? state.minScore === -Infinity && state.maxScore === Infinity
      : row.score >= state.minScore && row.score <= state.maxScore) &&
    row.region >= state.minRegion &&
    (!state.judged || Feedback.matches(row, state.judged))
  );
}

function select() {
  const current = state.shown[state.selected];
  const order = ORDERS[state.sort];
  const sign = state.isDescending ? -1 : 1;
  state.shown = ROWS.filter((row) => passesFilters(row));
  state.shown.sort((a, b) => {
    const [x, y] = [order(a), order(b)];
    return (x < y ? -sign : x > y ? sign : 0) || a.index - b.index;
  });
  const kept = current ? state.shown.indexOf(current) : -1;
  state.selected = kept >= 0 ? kept : Math.min(state.selected, Math.max(0, state.shown.length - 1));
}

const drawers = [];
let isWaiting = false;
function refresh() {
  if (isWaiting) return;
  isWaiting = true;
  requestAnimationFrame(() => {
    isWaiting = false;
    relabel();
    select();
    for (const draw of drawers) draw();
  });
}

function moveThreshold(threshold, review) {
  state.threshold = threshold;
  if (review !== undefined) state.review = review;
  state.isMoved = threshold !== recorded.threshold || state.review !== recorded.review;
  refresh();
}
