// The header's gauges and the invariants.

import { byId, h, icon, say, svg, sync } from "./dom.js";
import { number, span } from "./format.js";

const KEPT = 60;
const FEWEST = 20;
const rates = [];

export function showPulse(pulse) {
  say(byId("rate"), number(pulse.events_per_s));
  say(byId("backlog"), number(pulse.backlog_records));
  say(byId("backlog-unit"), pulse.is_reading ? "· reading" : pulse.backlog_records === 1 ? "record" : "records");
  say(byId("p50"), pulse.latency ? span(pulse.latency.p50_ms) : "–");
  say(byId("p99"), pulse.latency ? span(pulse.latency.p99_ms) : "–");
  say(byId("item-count"), number(pulse.items));
  rates.push(pulse.events_per_s ?? 0);
  rates.splice(0, rates.length - KEPT);
  drawRates();
  showInvariants(pulse);
}

function drawRates() {
  const most = Math.max(10, ...rates);
  const points = rates.map((rate, n) => `${n},${(19 - (rate / most) * 17).toFixed(1)}`);
  const chart = byId("rates");
  chart.setAttribute("viewBox", `0 0 ${Math.max(FEWEST, rates.length) - 1} 20`);
  chart.replaceChildren(svg("polyline", { points: points.join(" "), "vector-effect": "non-scaling-stroke" }));
}

function showInvariants(pulse) {
  const halted = Object.entries(pulse.halted).map(([name, why]) => ({ name: `${name} has stopped`, holds: false, detail: why }));
  const paused = Object.entries(pulse.paused ?? {}).map(([name, why]) => ({ name: `${name} is paused`, holds: false, detail: why }));
  const warned = Object.entries(pulse.warnings ?? {}).map(([name, says]) => ({ name, state: "warn", detail: says }));
  const open = pulse.endpoints.reduce((sum, endpoint) => sum + endpoint.waiting, 0);
  const owed = pulse.endpoints.length
    ? [{ name: "Obligations open", holds: true, detail: `${number(open)} on their way, each until it is answered`, count: open }]
    : [];
  sync(byId("invariants"), [...pulse.invariants, ...owed, ...halted, ...paused, ...warned], (row) => row.name, makeInvariant, updateInvariant);
}

function makeInvariant(row) {
  return h("li", {}, h("span", { class: "mark" }), h("span", { class: "name" }, row.name), h("span", { class: "detail" }));
}

function updateInvariant(item, row) {
  const state = row.state ?? (row.holds === null ? "wait" : row.holds ? "ok" : "bad");
  if (item.dataset.state !== state) {
    item.dataset.state = state;
    item.querySelector(".mark").replaceChildren(icon(state, { ok: "Holds:", bad: "Violated:", wait: "Not known yet:", warn: "Look at it:" }[state]));
  }
  say(item.querySelector(".name"), row.count === undefined ? row.name : `${row.name}: ${number(row.count)}`);
  say(item.querySelector(".detail"), row.detail);
}
