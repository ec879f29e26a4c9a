// Items: the list, searched and paged by the server, and one item in full. Until somebody chooses one, the latest is shown.

import { byId, h, icon, say, sync } from "./dom.js";
import { Chart } from "./chart.js";
import { age, number, rough } from "./format.js";
import { get } from "./http.js";
import { openWhy } from "./why.js";

const PAGE = 12;
const LIST_PAUSE_MS = 3000;
const ITEM_PAUSE_MS = 900;
const FOLLOW_MS = 12000;
const TYPING_MS = 180;
const WARNINGS = {
  suspect: ["warn", "Suspect", "A message about this item was not understood, or waits for something: the number may be off until that is settled."],
  oversold: ["bad", "Oversold", "More is promised than there is: stock that was promised has gone."],
  negative: ["bad", "Negative", "A site's stock is below zero: something was taken that was never received."],
  "on hold": ["hold", "On hold", "The ERP has put this item on hold: nothing new is promised of it."],
};

const list = byId("items");
const place = byId("item");
const chart = new Chart();
const rows = new Map();
let page = { start: 0, next: null, total: 0 };
let shown = null; // the item in full
let isChosen = false;
let followedAt = 0;
let listAsked = 0;
let isListStale = false;
let isItemStale = false;
let asked = 0;

export async function loadItems() {
  const only = new FormData(byId("find-form")).get("only");
  const query = new URLSearchParams({ find: byId("find").value, only, start: page.start, limit: PAGE });
  listAsked = Date.now();
  isListStale = false;
  const turn = ++asked;
  const found = await get(`/console/items?${query}`).catch(() => null);
  if (!found || turn !== asked) return;
  page = { ...page, next: found.next, total: found.total };
  rows.clear();
  for (const row of found.items) rows.set(row.item, row);
  draw();
  if (!isChosen && found.items.length && (shown === null || Date.now() - followedAt > FOLLOW_MS)) show(found.items[0].item);
}

// Everything is read anew: what changed meanwhile is not told of, so the item in full may have.
export function rereadItems() {
  isItemStale = shown !== null;
  loadItems();
}

export function changeItems(changed) {
  for (const row of changed) {
    const held = rows.get(row.item);
    if (held) rows.set(row.item, { ...held, ...row, isFresh: row.promise !== held.promise || row.atp !== held.atp });
    if (row.item === shown) isItemStale = true;
  }
  if (!changed.length) return;
  isListStale = true;
  draw();
}

// Called each second: lists do not jump about faster than anybody can read, nor under somebody's hand.
export function tickItems() {
  const isBusy = list.contains(document.activeElement) || list.matches(":hover");
  const isLive = new FormData(byId("find-form")).get("only") !== "all" || rows.size === 0;
  if (isListStale && isLive && !isBusy && page.start === 0 && Date.now() - listAsked > LIST_PAUSE_MS) loadItems();
  if (isItemStale) {
    isItemStale = false;
    show(shown);
  }
}

export function showItemCounts(pulse) {
  say(byId("warning-count"), pulse.item_warnings ? number(pulse.item_warnings) : "");
}

function draw() {
  sync(list, [...rows.values()], (row) => row.item, make, update);
  const last = Math.min(page.start + PAGE, page.total);
  say(byId("items-where"), page.total ? `${number(page.start + 1)}–${number(last)} of ${number(page.total)}` : "No item found");
  byId("items-back").disabled = page.start === 0;
  byId("items-next").disabled = page.next === null;
}

function make(row) {
  const choose = () => {
    isChosen = true;
    show(row.item).then(() => matchMedia("(max-width: 47.99rem)").matches && place.focus());
  };
  const name = h("th", { scope: "row" }, h("button", { type: "button", onclick: choose }, h("b", {}), h("span", { class: "description" }), h("span", { class: "marks" })));
  return h("tr", {}, name, ...["promise", "atp", "on_hand", "demand"].map((each) => h("td", { class: each === "on_hand" ? "n wide" : "n", data: { of: each } })));
}

function update(line, row) {
  say(line.querySelector("b"), row.item);
  say(line.querySelector(".description"), row.description ?? "");
  for (const cell of line.querySelectorAll("td")) {
    const value = row[cell.dataset.of];
    say(cell, rough(value));
    cell.dataset.sign = value < 0 ? "below" : "";
  }
  const marks = line.querySelector(".marks");
  if (marks.dataset.names !== row.warnings.join()) {
    marks.dataset.names = row.warnings.join();
    marks.replaceChildren(...row.warnings.map((name) => badge(name)));
  }
  line.classList.toggle("is-chosen", row.item === shown);
  if (row.isFresh) {
    row.isFresh = false;
    line.classList.remove("is-fresh");
    void line.offsetWidth; // starts the animation again
    line.classList.add("is-fresh");
  }
}

function badge(name) {
  const [glyph, label] = WARNINGS[name] ?? ["warn", name];
  return h("span", { class: "badge", data: { state: glyph } }, icon(glyph), label);
}

async function show(item) {
  const isNew = item !== shown;
  if (isNew) followedAt = Date.now();
  shown = item;
  const found = await get(`/v1/atp/${encodeURIComponent(item)}`).catch(() => null);
  if (!found || item !== shown) return;
  if (isNew || !place.firstElementChild) place.replaceChildren(...frame(item));
  fill(found);
  draw();
}

function frame(item) {
  return [
    h("header", {}, h("div", {}, h("h3", {}, item), h("p", { class: "description" })), h("button", { type: "button", class: "main", onclick: () => openWhy(item) }, "Why this number")),
    h("dl", { class: "numbers" }),
    h("div", { class: "warnings" }),
    chart.element,
    h("table", { class: "sites" }),
  ];
}

function fill(found) {
  const held = rows.get(found.item);
  if (held?.description) say(place.querySelector("p.description"), held.description);
  const stock = found.sites.reduce((sum, site) => sum + site.on_hand.usable, 0);
  const wanted = found.sites.reduce((sum, site) => sum + site.demand + site.reserved, 0);
  const facts = [["Can be promised", found.promise, "big"], ["ATP today", found.atp], ["On hand", stock], ["Demand", wanted], ["Backordered", found.backordered]];
  if (found.safety_stock) facts.push(["Safety stock", found.safety_stock]);
  sync(place.querySelector(".numbers"), facts, ([name]) => name,
    ([name, , size]) => h("div", { class: size ?? "" }, h("dt", {}, name), h("dd", {}, h("b", {}), " ", h("i", {}))),
    (part, [, value, size]) => {
      say(part.querySelector("b"), number(round(value)));
      say(part.querySelector("i"), size ? found.uom : "");
    });
  fillWarnings(found, held);
  chart.show(found.days, found.uom);
  fillSites(found);
}

const round = (value) => Math.round(value * 1000) / 1000;

function fillWarnings(found, held) {
  const names = new Set(held?.warnings ?? []);
  if (found.is_suspect) names.add("suspect");
  sync(place.querySelector(".warnings"), [...names], (name) => name, (name) => {
    const [glyph, label, text] = WARNINGS[name] ?? ["warn", name, ""];
    return h("p", { class: "notice", data: { state: glyph === "hold" ? "warn" : glyph } }, icon(glyph), h("b", {}, label), " ", text);
  }, () => {});
}

const SITE_COLUMNS = [
  ["Promise", (site) => site.promise],
  ["ATP", (site) => site.atp],
  ["Usable", (site) => site.on_hand.usable],
  ["Held", (site) => site.on_hand.held + site.on_hand.quality + site.on_hand.damaged],
  ["Staged", (site) => site.on_hand.staged],
  ["Demand", (site) => site.demand],
  ["Reserved", (site) => site.reserved],
];
const amount = (value) => h("td", { class: value === 0 ? "n zero" : "n" }, number(round(value)));

function fillSites(found) {
  // What is nowhere anything but 0 has no column.
  const columns = SITE_COLUMNS.filter(([name, of]) => name === "Promise" || name === "ATP" || found.sites.some((site) => of(site) !== 0));
  place.querySelector(".sites").replaceChildren(
    h("caption", {}, `By site, ${age(Date.now() - Date.parse(found.as_of))} after the last fact · policy ${found.policy} · version ${found.version}`),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Site"), ...columns.map(([name]) => h("th", { scope: "col", class: "n" }, name)))),
    h("tbody", {}, ...found.sites.map((site) => h("tr", {}, h("th", { scope: "row" }, site.site), ...columns.map(([, of]) => amount(of(site)))))));
}

let typing;
byId("find").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => turnTo(0), TYPING_MS);
});
byId("find-form").addEventListener("change", (event) => event.target.name === "only" && turnTo(0));
byId("find-form").addEventListener("submit", (event) => {
  event.preventDefault();
  turnTo(0);
});
byId("items-back").addEventListener("click", () => turnTo(Math.max(0, page.start - PAGE)));
byId("items-next").addEventListener("click", () => turnTo(page.next ?? page.start));

function turnTo(start) {
  page.start = start;
  loadItems();
}
