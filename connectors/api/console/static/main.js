// The page: reads everything once, then takes in what changes.

import { byId, icon, say } from "./dom.js";
import { showEndpoints, showFeeds } from "./deliveries.js";
import { showActions } from "./demo.js";
import { changeExceptions, showExceptionCounts, showExceptions } from "./exceptions.js";
import { moment } from "./format.js";
import { get } from "./http.js";
import { changeItems, rereadItems, showItemCounts, tickItems } from "./items.js";
import { openOrder, refreshOrder } from "./order.js";
import { moveOrders, showBoard, showCounts } from "./orders.js";
import { showPulse } from "./pulse.js";
import { Stream } from "./stream.js";

const LINKS = {
  live: ["ok", () => "Live"],
  away: ["bad", () => `Away since ${moment(new Date())}, trying again`],
  wait: ["wait", () => "Connecting"],
};
const NEWS_MS = 15000;
const RETRY_MS = 1500;
const REREAD_MS = 1000;
const REFILL_MS = 5000;

// Reads everything anew and shows it; the stream goes on from where that was.
async function begin() {
  let start;
  readAt = Date.now();
  try {
    start = await get("/console/start");
  } catch {
    link("away");
    setTimeout(begin, RETRY_MS);
    return;
  }
  showBoard(start.board, openOrder);
  showExceptions(start.exceptions);
  onPulse(start.pulse);
  rereadItems();
  stream.from(start.cursor);
}

// More changes than are sent: what is shown is right again in a moment, however fast they come.
function readSoon() {
  rereading ??= setTimeout(() => {
    rereading = null;
    begin();
  }, REREAD_MS);
}

function onPulse(pulse) {
  showPulse(pulse);
  const isShort = showCounts(pulse);
  showItemCounts(pulse);
  showExceptionCounts(pulse);
  showFeeds(pulse);
  showEndpoints(pulse);
  showActions(pulse.actions);
  tickItems();
  if ((wasReading && !pulse.is_reading) || (isShort && Date.now() - readAt > REFILL_MS)) readSoon();
  wasReading = pulse.is_reading;
}

function onChanges(changes) {
  if (changes.is_cut) readSoon();
  moveOrders(changes.orders, openOrder);
  changeItems(changes.items);
  changeExceptions(changes.exceptions);
  for (const row of [...changes.orders, ...changes.milestones]) refreshOrder(row.id ?? row.order_id);
  gather(changes);
}

function link(state) {
  const place = byId("link");
  if (place.dataset.state === state) return;
  place.dataset.state = document.body.dataset.link = state;
  const [glyph, text] = LINKS[state];
  place.querySelector("svg").replaceWith(icon(glyph));
  say(place.querySelector("span"), text());
}

// What changed is read out at most every few seconds, in one sentence; critical exceptions by name.
const news = { orders: new Set(), items: new Set(), critical: new Map() };

function gather(changes) {
  for (const row of changes.orders) news.orders.add(row.id);
  for (const row of changes.items) news.items.add(row.item);
  for (const row of changes.exceptions) if (row.severity === "critical" && row.state === "open") news.critical.set(row.fingerprint, row.sentence);
}

setInterval(() => {
  const parts = [...news.critical.values()].slice(0, 2).map((sentence) => `Critical: ${sentence}`);
  if (news.orders.size) parts.push(`${news.orders.size} ${news.orders.size === 1 ? "order" : "orders"} changed.`);
  if (parts.length) say(byId("said"), parts.join(" "));
  for (const gathered of Object.values(news)) gathered.clear();
}, NEWS_MS);

const THEMES = { auto: "Auto", light: "Light", dark: "Dark" };

function theme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  localStorage.setItem("crossdock.theme", name);
  say(byId("theme-name"), THEMES[name]);
}

byId("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  theme(names[(names.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % names.length]);
});
theme(document.documentElement.dataset.theme ?? "auto");

let wasReading = false;
let rereading = null;
let readAt = 0;
const stream = new Stream({ pulse: onPulse, changes: onChanges, refresh: readSoon, state: link });
begin();
