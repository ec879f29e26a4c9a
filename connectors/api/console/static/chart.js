// An item's day series: supply and demand as bars, projected stock and ATP as lines, and any day of it in words.

import { h, svg } from "./dom.js";
import { day, number, shortDay } from "./format.js";

const HEIGHT = 210;
const LEFT = 46;
const RIGHT = 6;
const TOP = 10;
const BOTTOM = 24;

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
    const { low, high, ticks } = scale(this.days);
    const y = (value) => TOP + ((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM);
    this.drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.drawing.setAttribute("aria-label", summary(this.days, this.uom));
    this.cursor = svg("rect", { class: "cursor", x: this.x(this.at), y: TOP, width: this.step, height: HEIGHT - TOP - BOTTOM });
    this.drawing.replaceChildren(
      this.cursor,
      ...ticks.map((tick) => svg("g", { class: tick === 0 ? "tick zero" : "tick" },
        svg("line", { x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }),
        svg("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, compact(tick)))),
      ...this.labels(width),
      ...this.days.flatMap((each, n) => this.bars(each, n, y)),
      this.area(y),
      svg("path", { class: "line-projected", d: this.steps("projected", y) }),
      svg("path", { class: "line-atp", d: this.steps("atp", y) }),
    );
  }

  bars(each, n, y) {
    const inset = Math.max(1, this.step * 0.22);
    const bar = (name, from, to) => (from === to ? [] : [svg("rect", { class: name, x: this.x(n) + inset, width: Math.max(1, this.step - 2 * inset), y: y(Math.max(from, to)), height: Math.max(1.5, y(Math.min(from, to)) - y(Math.max(from, to))), rx: Math.min(2, this.step / 6) })]);
    return [...bar("bar-supply", 0, each.supply), ...bar("bar-demand", 0, -each.demand)];
  }

  labels(width) {
    const every = Math.ceil(this.days.length / Math.max(2, Math.floor((width - LEFT) / 76)));
    return this.days.flatMap((each, n) => (n % every || n > this.days.length - every / 2 ? [] : [svg("text", { class: "day", x: this.x(n) + 2, y: HEIGHT - 6 }, n === 0 ? "today" : shortDay(each.day))]));
  }

  steps(name, y) {
    return this.days.map((each, n) => `${n ? "L" : "M"}${this.x(n).toFixed(1)} ${y(each[name]).toFixed(1)}H${this.x(n + 1).toFixed(1)}`).join("");
  }

  area(y) {
    return svg("path", { class: "area-atp", d: `${this.steps("atp", y)}V${y(0).toFixed(1)}H${LEFT}Z` });
  }
}

function scale(days) {
  const all = days.flatMap((each) => [each.atp, each.projected, each.supply, -each.demand, 0]);
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const rough = (most - least || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const [low, high] = [Math.floor(least / step), Math.max(Math.ceil(most / step), Math.floor(least / step) + 1)];
  const ticks = Array.from({ length: high - low + 1 }, (_, n) => Number(((low + n) * step).toPrecision(12)));
  return { low: low * step, high: high * step, ticks };
}

const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const compact = (value) => COMPACT.format(value).replace("-", "\u2212");

function summary(days, uom) {
  const lowest = days.reduce((found, each) => (each.atp < found.atp ? each : found));
  const [first, last] = [days[0], days[days.length - 1]];
  return `ATP by day in ${uom || "units"}: ${number(first.atp)} on ${day(first.day)}, lowest ${number(lowest.atp)} on ${day(lowest.day)}, ${number(last.atp)} on ${day(last.day)}.`;
}
