// The buttons that break things. What they start is said on the button, and what they did beside it.

import { byId, h, say, sync } from "./dom.js";
import { post } from "./http.js";

export function showActions(rows) {
  const place = byId("demo");
  if (place) sync(place, rows, (row) => row.name, make, update);
}

function make(row) {
  const button = h("button", { type: "button", class: "plain" });
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const { said, actions } = await post(`/console/demo/${encodeURIComponent(row.name)}`);
      say(byId("demo-said"), said);
      showActions(actions);
    } catch (error) {
      say(byId("demo-said"), error.message);
    } finally {
      button.disabled = false;
      button.focus({ preventScroll: true });
    }
  });
  return button;
}

function update(button, row) {
  say(button, row.label);
  button.title = row.about;
  button.classList.toggle("is-on", row.is_on === true);
  if (row.is_on !== null) button.setAttribute("aria-pressed", String(row.is_on));
}
