// Which product is chosen, and what is known of all of them; views are told when it changes.
import { getJson } from "./api.js";
import { $, el, Store } from "./dom.js";

export const state = { detectors: [], product: null };
const listeners = [];
export const onChange = (listener) => listeners.push(listener);
export const detector = () => state.detectors.find((each) => each.name === state.product) || null;

export async function reload(product) {
  state.detectors = await getJson("/v1/detectors");
  const names = state.detectors.map((each) => each.name);
  const wanted = product || state.product || Store.get("product");
  state.product = names.includes(wanted) ? wanted : names[0] || null;
  const options = names.map((name) => el("option", { value: name }, name));
  $("product").replaceChildren(...(options.length ? options : [el("option", { value: "" }, "none yet")]));
  $("product").value = state.product || "";
  for (const listener of listeners) listener();
}

export function startProducts() {
  $("product").addEventListener("change", () => {
    state.product = $("product").value || null;
    Store.set("product", state.product || "");
    for (const listener of listeners) listener();
  });
}
