// An item's day series: supply and demand as bars, projected stock and ATP as lines, and any day of it in words.

import { h, svg } from "./dom.js";
import { day, number, shortDay } from "./format.js";

// Two panes with a scale of their own each: stock above, what comes in and goes out below.
const STOCK = { top: 10, height: 132, steps: 4 };
const FLOW = { top: 166, height: 58, steps: 2 };
const HEIGHT = 248;
const LEFT = 46;
const RIGHT = 6;

export class Chart {
  constructor() {
    this.days = [];
    this.at = 0;
    this.drawing = svg("svg", { class: "chart", role: "img" });
    this.readout = h("output", { class: "readout" });
    this.slider = h("input", { type: "range", class: "day-slider", min: 0, value: 0, "aria-label": "Day of the series" });
    this.slider.addEventListener("input", () => this.point(Number(this.slider.value)));
    this.drawing.addEventListener("pointermove", (event) => this.follow(event));
    const legend = h("ul", { class: "legend", "aria-hidden": "true" },
      ...["ATP", "Projected", "Supply", "Demand"].map((name) => h("li", { class: `key-${name.toLowerCase()}` }, name)));
    this.element = h("figure", { class: "series" }, h("figcaption", {}, legend, this.readout), this.drawing, this.slider);
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  show(days, uom) {
    this.days = days;
    this.uom = uom;
    this.at = Math.min(this.at, days.length - 1);
    this.slider.max = days.length - 1;
    this.draw();
    this.point(this.at);
  }

  point(index) {
    const at = this.days[index];
    if (!at) return;
    this.at = index;
    this.slider.value = index;
    const text = `${day(at.day)}: ATP ${number(at.atp)}, projected ${number(at.projected)}, supply ${number(at.supply)}, demand ${number(at.demand)}`;
    this.slider.setAttribute("aria-valuetext", text);
    this.readout.replaceChildren(
      h("span", { class: "when" }, day(at.day)),
      ...[["ATP", at.atp], ["Projected", at.projected], ["Supply", at.supply], ["Demand", at.demand]].map(([name, value]) => h("span", {}, `${name} `, h("b", {}, number(value)))));
    this.cursor?.setAttribute("x", this.x(index));
  }

  follow(event) {
    const box = this.drawing.getBoundingClientRect();
    const index = Math.floor((event.clientX - box.left - LEFT) / this.step);
    if (index >= 0 && index < this.days.length) this.point(index);
  }

  x(index) {
    return LEFT + index * this.step;
  }

  draw() {
    const width = Math.floor(this.element.clientWidth);
    if (!this.days.length || width < 80) return;
    this.step = (width - LEFT - RIGHT) / this.days.length;
    const stock = pane(STOCK, this.days.flatMap((each) => [each.atp, each.projected]));
    const flow = pane(FLOW, this.days.flatMap((each) => [each.supply, -each.demand]));
    this.drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.drawing.setAttribute("aria-label", summary(this.days, this.uom));
    this.cursor = svg("rect", { class: "cursor", x: this.x(this.at), y: STOCK.top, width: this.step, height: FLOW.top + FLOW.height - STOCK.top });
    this.drawing.replaceChildren(
      this.cursor,
      ...[stock, flow].flatMap(({ ticks, y }) => ticks.map((tick) => grid(tick, y(tick), width))),
      ...this.labels(width),
      ...this.days.flatMap((each, n) => this.bars(each, n, flow.y)),
      svg("path", { class: "area-atp", d: `${this.steps("atp", stock.y)}V${stock.y(0).toFixed(1)}H${LEFT}Z` }),
      svg("path", { class: "line-projected", d: this.steps("projected", stock.y) }),
      svg("path", { class: "line-atp", d: this.steps("atp", stock.y) }),
    );
  }

  bars(each, n, y) {
    const inset = Math.max(1, this.step * 0.22);
    const bar = (name, from, to) => {
      if (from === to) return [];
      const [top, bottom] = [y(Math.max(from, to)), y(Math.min(from, to))];
      const size = { x: this.x(n) + inset, width: Math.max(1, this.step - 2 * inset), y: top, height: Math.max(1.5, bottom - top) };
      return [svg("rect", { class: name, rx: Math.min(2, this.step / 6), ...size })];
    };
    return [...bar("bar-supply", 0, each.supply), ...bar("bar-demand", 0, -each.demand)];
  }

  labels(width) {
    const every = Math.ceil(this.days.length / Math.max(2, Math.floor((width - LEFT) / 76)));
    const shown = this.days.map((each, n) => [each, n]).filter(([, n]) => n % every === 0 && n <= this.days.length - every / 2);
    return shown.map(([each, n]) => svg("text", { class: "day", x: this.x(n) + 2, y: HEIGHT - 6 }, n === 0 ? "today" : shortDay(each.day)));
  }

  steps(name, y) {
    return this.days.map((each, n) => `${n ? "L" : "M"}${this.x(n).toFixed(1)} ${y(each[name]).toFixed(1)}H${this.x(n + 1).toFixed(1)}`).join("");
  }
}

function grid(tick, at, width) {
  return svg("g", { class: tick === 0 ? "tick zero" : "tick" },
    svg("line", { x1: LEFT, x2: width - RIGHT, y1: at, y2: at }),
    svg("text", { x: LEFT - 8, y: at + 4, "text-anchor": "end" }, compact(tick)));
}

// A pane's ticks, at round numbers and always at zero, and where a value is in it.
function pane({ top, height, steps }, values) {
  const [least, most] = [Math.min(0, ...values), Math.max(0, ...values)];
  const rough = (most - least || 1) / steps;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const low = Math.floor(least / step);
  const high = Math.max(Math.ceil(most / step), low + 1);
  const ticks = Array.from({ length: high - low + 1 }, (_, n) => Number(((low + n) * step).toPrecision(12)));
  return { ticks, y: (value) => top + ((high * step - value) / ((high - low) * step)) * height };
}

const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const compact = (value) => COMPACT.format(value).replace("-", "\u2212");

function summary(days, uom) {
  const lowest = days.reduce((found, each) => (each.atp < found.atp ? each : found));
  const [first, last] = [days[0], days[days.length - 1]];
  return `ATP by day in ${uom || "units"}: ${number(first.atp)} on ${day(first.day)}, lowest ${number(lowest.atp)} on ${day(lowest.day)}, ${number(last.atp)} on ${day(last.day)}.`;
}
