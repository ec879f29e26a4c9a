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
  const [found, atp] = await Promise.all([get(path), get(`/v1/atp/${encodeURIComponent(item)}`)]);
  const list = h("ol", { class: "timeline ledger" }, ...rows(found.rows));
  return [sum(atp), h("section", {}, h("h3", {}, "Each number from its ledger"), verdict(found), totals(found)),
    h("section", {}, h("h3", {}, "What changed them"), list, older(path, found.next, list))];
}

const round = (value) => Math.round(value * 1000) / 1000;

// ATP today from a site's stock. What is left over is supply that comes before the demand it covers, or stock that expires first.
function sum(atp) {
  const parts = [
    ["Usable", (site) => site.on_hand.usable],
    ["Safety stock", () => -atp.safety_stock],
    ["Demand", (site) => -site.demand],
    ["Reserved", (site) => -site.reserved],
  ];
  const rest = (site) => round(site.atp - parts.reduce((total, [, of]) => total + of(site), 0));
  const last = atp.sites.some((site) => rest(site) < 0) ? "Supply in time, less expiry" : "Supply in time";
  const columns = [...parts, [last, rest]].filter(([, of]) => atp.sites.some((site) => of(site) !== 0));
  const head = (name) => h("th", { scope: "col", class: "n" }, name);
  const cell = (value, isFirst) => h("td", { class: value === 0 ? "n zero" : "n" }, isFirst ? number(value) : signed(round(value)));
  return h("section", {}, h("h3", {}, `${number(atp.promise)} ${atp.uom} can be promised`),
    h("table", { class: "totals" },
      h("caption", { class: "sr" }, "How each site's ATP today adds up"),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Site"), ...columns.map(([name]) => head(name)), head("ATP today"), head("Promise"))),
      h("tbody", {}, ...atp.sites.map((site) => h("tr", {}, h("th", { scope: "row" }, site.site),
        ...columns.map(([name, of]) => cell(of(site), name === "Usable")),
        h("td", { class: "n" }, "= ", number(site.atp)), h("td", { class: "n" }, h("b", {}, number(site.promise))))))));
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
    h("tbody", {}, ...found.totals.filter((total) => total.ledger || total.present).map((total) => h("tr", {},
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
