// Keys, theme, and the start.
import { $, say, Store } from "./dom.js";
import { startEnrol } from "./enrol.js";
import { startFeedback } from "./feedback.js";
import * as History from "./history.js";
import * as Inspect from "./inspect.js";
import { startMonitor } from "./monitor.js";
import { startStage, toggleHeat, toggleOutlines } from "./stage.js";
import { reload, startProducts, state } from "./state.js";
import { openName, startTabs } from "./tabs.js";
import { startThreshold } from "./threshold.js";

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest("textarea, select, input:not([type=checkbox]):not([type=range])")) return;
  if ($("help").open || $("key-dialog").open) return;
  const key = event.key.toLowerCase();
  const isDetail = History.isDetailOpen();
  if (["f", "m", "c", "u"].includes(key)) {
    if (isDetail) History.act(key);
    else if (openName() === "inspect") Inspect.act(key);
  } else if (isDetail && key === "arrowright") History.step(1);
  else if (isDetail && key === "arrowleft") History.step(-1);
  else if (key === "h") toggleHeat();
  else if (key === "o") toggleOutlines();
  else if (key === "p" && openName() === "inspect") Inspect.togglePause();
  else if (key === "?") $("help").showModal();
  else return;
  event.preventDefault();
}

function startTheme() {
  const apply = (theme) => { if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme; };
  apply(Store.get("theme"));
  $("theme").addEventListener("click", () => {
    const theme = getComputedStyle(document.documentElement).colorScheme === "dark" ? "light" : "dark";
    apply(theme);
    Store.set("theme", theme);
  });
}

startTheme();
startProducts();
startStage();
startFeedback();
Inspect.startInspect();
startEnrol();
startThreshold();
History.startHistory();
startMonitor();
document.addEventListener("keydown", onKey);
// A file that is dropped beside the places for it must not replace the page.
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
$("help-button").addEventListener("click", () => $("help").showModal());
$("help-close").addEventListener("click", () => $("help").close());
try {
  await reload();
} catch (error) {
  say(error.message, 60);
}
startTabs(state.product ? "inspect" : "enrol");
