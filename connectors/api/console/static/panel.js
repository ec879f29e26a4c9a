// The side panel: one thing in full. A modal dialog: Escape closes it, and focus goes back to where it came from.

import { byId, h, say } from "./dom.js";

const dialog = byId("panel");
let opener = null;
let current = "";
let reload = null;

export function openPanel(key, title, load) {
  if (!dialog.open) {
    const from = document.activeElement;
    opener = { element: from, key: from?.closest?.("[data-key]")?.dataset.key, list: from?.closest?.("ol, ul, tbody") };
  }
  current = key;
  reload = load;
  say(byId("panel-title"), title);
  byId("panel-body").replaceChildren(h("p", { class: "about" }, "Reading …"));
  if (!dialog.open) dialog.showModal();
  byId("panel-title").focus({ preventScroll: true });
  dialog.scrollTop = 0;
  return show();
}

// Reads the panel's content again, if it is about this and nobody is writing in it.
export function refreshPanel(key) {
  if (dialog.open && key === current && !document.activeElement?.matches("input, textarea")) show();
}

export function closePanel() {
  dialog.close();
}

async function show() {
  const key = current;
  let content;
  try {
    content = await reload();
  } catch (error) {
    content = [h("p", { class: "notice", data: { state: "bad" }, role: "alert" }, error.message)];
  }
  if (key !== current) return;
  const body = byId("panel-body");
  const focused = body.contains(document.activeElement) ? document.activeElement : null;
  const written = new Map([...body.querySelectorAll("input, textarea")].map((input) => [input.name, input.value]));
  body.replaceChildren(...content.flat().filter(Boolean));
  for (const input of body.querySelectorAll("input, textarea")) input.value = written.get(input.name) || input.value;
  if (focused) again(body, focused).focus({ preventScroll: true });
}

// What the focus goes to when its element was drawn anew: the button that says the same, or the panel's title.
function again(body, focused) {
  const same = [...body.querySelectorAll("button")].find((button) => button.textContent === focused.textContent);
  return same ?? byId("panel-title");
}

dialog.addEventListener("close", () => {
  current = "";
  if (!opener) return;
  const { element, key } = opener;
  opener = null;
  // The card may have been drawn anew meanwhile: then its successor gets the focus.
  const again = element?.isConnected ? element : key && document.querySelector(`[data-key="${CSS.escape(key)}"] button`);
  again?.focus({ preventScroll: true });
});
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
byId("panel-close").addEventListener("click", () => dialog.close());
