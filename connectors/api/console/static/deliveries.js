// Where facts come from and how fresh they are; where obligations go and whether they get there.

import { byId, h, icon, say, sync } from "./dom.js";
import { age, number } from "./format.js";

const FRESH_MS = 60_000;
const CIRCUITS = { closed: ["ok", "Serving"], half_open: ["half", "Probing"], open: ["bad", "Left alone"] };

export function showFeeds(pulse) {
  const now = Date.parse(pulse.at);
  // In an order that stays: those that were never heard of come last.
  const rows = [...pulse.feeds].sort((a, b) => (a.as_of === null) - (b.as_of === null) || (a.source < b.source ? -1 : 1));
  sync(byId("feeds"), rows, (feed) => feed.source, makeFeed, (item, feed) => updateFeed(item, feed, now));
}

function makeFeed(feed) {
  return h("li", {}, h("span", { class: "mark" }), h("span", { class: "name" }, feed.source), h("span", { class: "age" }));
}

function updateFeed(item, feed, now) {
  const old = feed.as_of === null ? null : now - Date.parse(feed.as_of);
  const state = feed.waiting_records > 0 ? "half" : old === null ? "off" : old < FRESH_MS ? "ok" : "wait";
  if (item.dataset.state !== state) {
    item.dataset.state = state;
    item.querySelector(".mark").replaceChildren(icon(state, { half: "Behind:", off: "Nothing yet:", ok: "Fresh:", wait: "Quiet:" }[state]));
  }
  const waiting = feed.waiting_records ? ` · ${number(feed.waiting_records)} waiting` : "";
  say(item.querySelector(".age"), (old === null ? "nothing yet" : `${age(old)} ago`) + waiting);
}

export function showEndpoints(pulse) {
  const list = byId("endpoints");
  const open = pulse.endpoints.filter((endpoint) => endpoint.circuit !== "closed").length;
  const about = open ? `${open} of ${pulse.endpoints.length} away: their queues wait in order` : "all endpoints serve";
  say(byId("endpoints-about"), pulse.endpoints.length ? about : "no other system is served from here yet");
  list.closest("table").hidden = pulse.endpoints.length === 0;
  sync(list, pulse.endpoints, (endpoint) => endpoint.endpoint, makeEndpoint, (item, endpoint) => updateEndpoint(item, endpoint, Date.parse(pulse.at)));
}

function makeEndpoint(endpoint) {
  const name = h("th", { scope: "row" }, h("span", { class: "mark" }), h("b", {}, endpoint.endpoint), h("small", {}));
  return h("tr", {}, name, ...["waiting", "in_flight", "oldest", "done"].map((each) => h("td", { class: "n", data: { of: each } })));
}

function updateEndpoint(line, endpoint, now) {
  const [glyph, label] = CIRCUITS[endpoint.circuit] ?? ["info", endpoint.circuit];
  if (line.dataset.state !== glyph) {
    line.dataset.state = glyph;
    line.querySelector(".mark").replaceChildren(icon(glyph, `${label}:`));
  }
  const set = (name, text) => say(line.querySelector(`[data-of="${name}"]`), text);
  set("waiting", number(endpoint.waiting));
  set("in_flight", number(endpoint.in_flight));
  set("oldest", endpoint.oldest ? age(now - Date.parse(endpoint.oldest)) : "–");
  set("done", number(endpoint.done));
  say(line.querySelector("small"), trouble(endpoint, label, now));
}

function trouble(endpoint, label, now) {
  const parts = [];
  if (endpoint.exhausted) parts.push(`${number(endpoint.exhausted)} given up until a person sends them again`);
  if (endpoint.circuit === "open" && endpoint.retry_at) parts.push(`${label}, tried again in ${age(Date.parse(endpoint.retry_at) - now)}`);
  else if (endpoint.circuit !== "closed") parts.push(label);
  if (parts.length && endpoint.last_error) parts.push(endpoint.last_error);
  return parts.join(" · ");
}
