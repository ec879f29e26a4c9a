// Who works here: asked once, remembered by this browser.

import { h, say } from "./dom.js";

const KEY = "crossdock.person";

export function personField() {
  const input = h("input", { type: "text", name: "person", required: true, maxlength: 100, autocomplete: "name", value: localStorage.getItem(KEY) ?? "" });
  input.addEventListener("change", () => localStorage.setItem(KEY, input.value.trim()));
  return h("label", { class: "field" }, h("span", {}, "Your name"), input);
}

// A form whose buttons each do something; what came of it is said below them.
export function actions(fields, buttons, after) {
  const said = h("p", { class: "said", role: "status" });
  const form = h("form", { class: "actions" }, ...fields, h("div", { class: "buttons" }), said);
  for (const { label, act, isMain, needs = [] } of buttons) {
    const button = h("button", { type: "button", class: isMain ? "main" : "plain" }, label);
    button.addEventListener("click", async () => {
      for (const input of form.querySelectorAll("input, textarea")) input.required = input.name === "person" || needs.includes(input.name);
      if (!form.reportValidity()) return;
      const values = Object.fromEntries(new FormData(form));
      button.disabled = true;
      said.dataset.state = "wait";
      said.textContent = "Sending …";
      try {
        say(said, await act(values));
        said.dataset.state = "ok";
        after?.();
      } catch (error) {
        say(said, error.message);
        said.dataset.state = "bad";
      } finally {
        button.disabled = false;
        button.focus();
      }
    });
    form.querySelector(".buttons").append(button);
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  return form;
}
