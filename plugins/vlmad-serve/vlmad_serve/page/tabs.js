// One view at a time; its name is in the address, so that it can be linked to.
import { $ } from "./dom.js";

const NAMES = ["inspect", "enrol", "threshold", "history", "monitor"];
const openers = {};
export const onOpen = (name, opener) => { openers[name] = opener; };
export const openName = () => NAMES.find((name) => !$(name).hidden);

export function openTab(name) {
  for (const each of NAMES) $(each).hidden = each !== name;
  document.querySelectorAll("#tabs button").forEach((button) => {
    button.setAttribute("aria-selected", String(button.dataset.tab === name));
  });
  history.replaceState(null, "", `#${name}`);
  if (openers[name]) openers[name]();
}

export function startTabs(first) {
  document.querySelectorAll("#tabs button").forEach((button) => {
    button.addEventListener("click", () => openTab(button.dataset.tab));
  });
  const asked = location.hash.slice(1);
  openTab(NAMES.includes(asked) ? asked : first);
}
