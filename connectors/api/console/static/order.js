// One order in the panel: where it stands, its milestones, its lines, and everything that was said about it.

import { h, icon } from "./dom.js";
import { day, moment, number, span, words } from "./format.js";
import { get, post } from "./http.js";
import { openPanel, refreshPanel } from "./panel.js";
import { actions, personField } from "./person.js";

const STAGES = ["order_accepted", "allocation_confirmed", "pick_released", "shipment_posted", "invoice_generated"];
const AMOUNTS = ["ordered", "allocated", "backordered", "picked", "shipped", "invoiced"];
const OWN = new Set(["offset", "type", "event_id", "source", "source_position", "occurred_at", "recorded_at", "trace_id", "order_id", "content_hash"]);
const QUIET = new Set(["OrderTick"]);

export function openOrder(id) {
  openPanel(`order ${id}`, id, () => content(id));
}

export const refreshOrder = (id) => refreshPanel(`order ${id}`);

async function content(id) {
  const path = `/v1/orders/${encodeURIComponent(id)}`;
  const [order, trace] = await Promise.all([get(path), get(`${path}/trace?limit=200`)]);
  return [summary(order), hold(order, path), milestones(order, trace.milestones), lines(order.lines), timeline(trace)];
}

function summary(order) {
  const facts = [
    ["Status", h("b", {}, words(order.status))],
    order.decision && ["Decision", words(order.decision)],
    ["Channel", order.channel],
    ["Customer", order.customer],
    ["Placed", moment(order.placed_at)],
    order.requested_on && ["Wanted", day(order.requested_on)],
    order.erp_order_nos.length && ["In the ERP", order.erp_order_nos.join(", ")],
  ].filter(Boolean);
  return h("dl", { class: "facts" }, ...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function hold(order, path) {
  if (order.status !== "held" || !order.decision) return null;
  const reasons = order.holds.length ? order.holds : [""];
  const release = (reason) => async ({ person, note }) => {
    await post(`${path}/release`, { person, note, ...(reason ? { reason } : {}) });
    return "Released. The order goes on as soon as that is worked off.";
  };
  const buttons = reasons.map((reason, n) => ({ label: reason ? `Release: ${words(reason).toLowerCase()}` : "Release", act: release(reason), isMain: n === 0 }));
  const note = h("label", { class: "field" }, h("span", {}, "Why it may go on"), h("input", { type: "text", name: "note", maxlength: 500 }));
  return h("section", { class: "notice", data: { state: "warn" } }, h("h3", {}, icon("hold"), "On hold"),
    h("p", {}, order.holds.map(words).join(", ") || "No reason is given."), actions([personField(), note], buttons));
}

function milestones(order, reached) {
  const found = new Map(reached.map((milestone) => [milestone.milestone, milestone]));
  return h("section", {}, h("h3", {}, "Milestones"), h("ol", { class: "milestones" }, ...STAGES.map((name) => milestone(name, found.get(name)))));
}

function milestone(name, row) {
  const state = row ? (row.is_late ? "warn" : "ok") : "off";
  const took = row && row.since_previous_ms ? `after ${span(row.since_previous_ms)}, ` : "";
  return h("li", { data: { state } },
    icon(row ? (row.is_late ? "warn" : "ok") : "off"),
    h("b", {}, words(name)),
    h("span", {}, row ? moment(row.at) : "not yet"),
    h("small", {}, row ? `${took}${row.is_late ? "late: due" : "due"} within ${span(row.sla_ms)}` : ""));
}

function lines(rows) {
  const head = h("tr", {}, h("th", { scope: "col" }, "Line"), ...AMOUNTS.map((name) => h("th", { scope: "col", class: "n" }, words(name))));
  const shown = rows.map((line) => h("tr", {},
    h("th", { scope: "row" }, h("span", { class: "line-no" }, line.line), " ", line.item,
      h("small", {}, [words(line.state), line.uom, line.promised_on && `promised for ${day(line.promised_on)}`, line.reason].filter(Boolean).join(" · "))),
    ...AMOUNTS.map((name) => h("td", { class: line[name] === 0 ? "n zero" : "n", data: { label: words(name) } }, number(line[name])))));
  return h("section", {}, h("h3", {}, "Lines"), rows.length ? h("table", { class: "lines" }, h("thead", {}, head), h("tbody", {}, ...shown)) : h("p", { class: "about" }, "No line yet."));
}

function timeline(trace) {
  const events = trace.events.filter((event) => !QUIET.has(event.type)).reverse();
  return h("section", {}, h("h3", {}, "What happened"), h("ol", { class: "timeline" }, ...events.map((event) => h("li", {},
    h("time", { datetime: event.occurred_at }, moment(event.occurred_at)),
    h("b", {}, words(event.type)),
    h("span", { class: "said-by" }, event.source ?? ""),
    h("p", {}, described(event))))), trace.next === null ? null : h("p", { class: "about" }, "Older events are not shown."));
}

function described(event) {
  const parts = Object.entries(event).filter(([name, value]) => !OWN.has(name) && value !== null && value !== "" && value !== false && typeof value !== "object");
  return parts.map(([name, value]) => `${words(name).toLowerCase()} ${value === true ? "yes" : typeof value === "number" ? number(value) : value}`).join(" · ");
}
