// Why a number is what it is: the ledger rows behind it, and that they add up to it.

import { h, icon } from "./dom.js";
import { moment, number, signed, words } from "./format.js";
import { get } from "./http.js";
import { openPanel } from "./panel.js";

const PAGE = 100;

export function openWhy(item) {
  openPanel(`why ${item}`, `Why: ${item}`, () => content(item));
}

async function content(item) {
  const path = `/v1/items/${encodeURIComponent(item)}/explain?limit=${PAGE}`;
  const found = await get(path);
  const list = h("ol", { class: "timeline ledger" }, ...rows(found.rows));
  return [verdict(found), totals(found), h("section", {}, h("h3", {}, "What changed it"), list, older(path, found.next, list))];
}

function verdict(found) {
  if (found.adds_up === null) return h("p", { class: "notice", data: { state: "wait" } }, icon("wait"), "The ledger is too long to add up here.");
  const state = found.adds_up ? "ok" : "bad";
  const text = found.adds_up ? "Every number is the sum of its ledger rows." : "The ledger does not add up to the numbers below.";
  return h("p", { class: "notice", data: { state } }, icon(state), text);
}

function totals(found) {
  const head = ["Site", "Measure", "Sum of the ledger", "Now", ""];
  return h("table", { class: "totals" },
    h("caption", { class: "sr" }, "Sums of the ledger beside the present numbers"),
    h("thead", {}, h("tr", {}, ...head.map((name, n) => h("th", { scope: "col", class: n === 2 || n === 3 ? "n" : "" }, name || h("span", { class: "sr" }, "Agrees"))))),
    h("tbody", {}, ...found.totals.map((total) => h("tr", {},
      h("th", { scope: "row" }, total.site), h("td", {}, measure(total.measure)),
      h("td", { class: "n" }, number(total.ledger)), h("td", { class: "n" }, number(total.present), " ", found.uom),
      h("td", { class: "verdict", data: { state: total.agrees ? "ok" : "bad" } }, icon(total.agrees ? "ok" : "bad", total.agrees ? "agrees" : "differs"))))));
}

const measure = (name) => words(name.replace("on_hand.", "on hand, "));

function rows(entries) {
  return entries.slice().reverse().map((entry) => h("li", {},
    h("time", { datetime: entry.occurred_at }, moment(entry.occurred_at)),
    h("b", {}, words(entry.cause_type)),
    h("span", { class: "said-by" }, entry.source),
    h("ul", { class: "changes" }, ...entry.changes.map((change) => h("li", {},
      h("span", {}, `${change.site} ${measure(change.measure).toLowerCase()}${change.lot ? `, lot ${change.lot}` : ""}`),
      h("span", { class: "n" }, `${number(change.before)} → ${number(change.after)}`),
      h("b", { class: "n" }, signed(Math.round((change.after - change.before) * 1000) / 1000))))),
    entry.note ? h("p", {}, entry.note) : null));
}

function older(path, next, list) {
  if (next === null) return null;
  const button = h("button", { type: "button", class: "plain" }, "Older rows");
  button.addEventListener("click", async () => {
    button.disabled = true;
    const found = await get(`${path}&before=${next}`).catch(() => null);
    button.disabled = false;
    if (!found) return;
    list.append(...rows(found.rows));
    next = found.next;
    if (next === null) button.remove();
  });
  return button;
}
