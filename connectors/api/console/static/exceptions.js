// Exceptions: what a person should look at, how soon, and what to do about it.

import { byId, h, icon, say, sync } from "./dom.js";
import { age, moment, number, span, words } from "./format.js";
import { get, post } from "./http.js";
import { openOrder } from "./order.js";
import { openPanel, refreshPanel } from "./panel.js";
import { actions, personField } from "./person.js";
import { openWhy } from "./why.js";

const GLYPHS = { critical: "bad", warning: "warn", info: "info" };
const RANK = { critical: 0, warning: 1, info: 2 };
const SHOWN = 50;
const FIRST = 8; // on a narrow screen
const AGAIN = new Set(["dead_letter", "obligation_exhausted", "suspect_item"]);
let rows = [];

export function showExceptions(found) {
  rows = found;
  draw();
}

export function changeExceptions(changed) {
  if (!changed.length) return;
  const byKey = new Map(rows.map((row) => [row.fingerprint, row]));
  for (const row of changed) {
    if (row.state === "open" || row.state === "assigned") byKey.set(row.fingerprint, row);
    else byKey.delete(row.fingerprint);
    refreshPanel(`exception ${row.fingerprint}`);
  }
  rows = [...byKey.values()].sort((a, b) => RANK[a.severity] - RANK[b.severity] || (a.due_at < b.due_at ? -1 : 1)).slice(0, SHOWN);
  draw();
}

export function showExceptionCounts(pulse) {
  const parts = ["critical", "warning", "info"].filter((name) => pulse.exceptions[name]).map((name) => `${number(pulse.exceptions[name])} ${name}`);
  say(byId("exceptions-about"), parts.join(", ") || "none open");
  draw(); // ages go on
}

function draw() {
  const list = byId("exceptions");
  sync(list, rows, (row) => row.fingerprint, make, update);
  list.classList.toggle("is-empty", rows.length === 0);
  const all = byId("exceptions-all");
  all.hidden = rows.length <= FIRST || list.classList.contains("is-whole");
  say(all, `Show all ${rows.length}`);
}

function make(row) {
  return h("li", { data: { severity: row.severity } },
    h("button", { type: "button", onclick: () => openException(row.fingerprint) },
      h("span", { class: "mark" }), h("span", { class: "code" }), h("span", { class: "due" }),
      h("span", { class: "sentence" }), h("span", { class: "hint" })));
}

function update(item, row) {
  const mark = item.querySelector(".mark");
  if (mark.dataset.severity !== row.severity) {
    mark.dataset.severity = item.dataset.severity = row.severity;
    mark.replaceChildren(icon(GLYPHS[row.severity] ?? "info", `${row.severity}:`));
  }
  say(item.querySelector(".code"), words(row.code) + (row.count > 1 ? ` × ${number(row.count)}` : ""));
  say(item.querySelector(".sentence"), row.sentence);
  say(item.querySelector(".hint"), row.person ? `${row.person} is on it` : row.action);
  const left = new Date(row.due_at) - Date.now();
  const due = item.querySelector(".due");
  due.dataset.state = left < 0 ? "bad" : left < row.sla_ms / 4 ? "warn" : "ok";
  say(due, left < 0 ? `${age(-left)} overdue` : `${age(left)} left`);
}

export function openException(fingerprint) {
  openPanel(`exception ${fingerprint}`, "Exception", () => content(fingerprint));
}

async function content(fingerprint) {
  const path = `/v1/exceptions/${encodeURIComponent(fingerprint)}`;
  const row = await get(path);
  byId("panel-title").textContent = words(row.code);
  const first = new Date(row.first_at);
  const facts = [
    ["Severity", h("span", { class: "severity", data: { severity: row.severity } }, icon(GLYPHS[row.severity] ?? "info"), words(row.severity))],
    ["State", row.person && row.state === "assigned" ? `${row.person} is on it` : words(row.state)],
    ["Owner", row.owner],
    ["Seen", row.count === 1 ? moment(row.first_at) : `${number(row.count)} times, first ${moment(row.first_at)}, last ${moment(row.last_at)}`],
    ["Age", `${span(Date.now() - first)}, due within ${span(row.sla_ms)}`],
  ];
  return [
    h("p", { class: "lead" }, row.sentence),
    h("p", { class: "notice", data: { state: "info" } }, icon("info"), `${row.action}.`),
    h("dl", { class: "facts" }, ...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    links(row),
    work(row, path),
    h("section", {}, h("h3", {}, "Events behind it"), h("ul", { class: "codes" }, ...row.events.map((event) => h("li", {}, event)))),
  ];
}

function links(row) {
  const found = [
    row.order_id && h("button", { type: "button", class: "plain", onclick: () => openOrder(row.order_id) }, `Order ${row.order_id}`),
    row.item && h("button", { type: "button", class: "plain", onclick: () => openWhy(row.item) }, `Why: ${row.item}`),
  ].filter(Boolean);
  return found.length ? h("div", { class: "buttons" }, ...found) : null;
}

function work(row, path) {
  if (row.state !== "open" && row.state !== "assigned") {
    const by = row.person ? ` by ${row.person}` : "";
    return h("p", { class: "notice", data: { state: "ok" } }, icon("ok"), `${words(row.state)}${by}.${row.note ? ` “${row.note}”` : ""}`);
  }
  const note = h("label", { class: "field" }, h("span", {}, "What was done"), h("textarea", { name: "note", rows: 2, maxlength: 2000 }));
  const buttons = [
    { label: "I take it", act: async ({ person }) => (await post(`${path}/assign`, { person }), "It is yours.") },
    { label: "Resolved", isMain: true, needs: ["note"], act: async ({ person, note: said }) => (await post(`${path}/resolve`, { person, note: said }), "Settled.") },
  ];
  if (AGAIN.has(row.code)) {
    const again = async () => {
      const { replayed } = await post(`${path}/replay`);
      return replayed.length ? `Fed again: ${replayed.length}.` : "It was fed again before.";
    };
    buttons.push({ label: "Feed it again", act: again });
  }
  return actions([personField(), note], buttons);
}

byId("exceptions-all").addEventListener("click", (event) => {
  const list = byId("exceptions");
  list.classList.add("is-whole");
  event.currentTarget.hidden = true;
  list.children[FIRST]?.querySelector("button").focus();
});
