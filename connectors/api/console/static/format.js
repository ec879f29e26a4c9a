// Numbers, times and codes as people read them.

const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 3 });
const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const MOMENT = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });
const SHORT_DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

export const number = (value) => (value === null || value === undefined ? "–" : NUMBER.format(value).replace("-", "\u2212"));
const ROUGH = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
export const rough = (value) => ROUGH.format(value).replace("-", "\u2212"); // for lists; the exact number is a click away
export const signed = (value) => (value > 0 ? "+" : "") + number(value);
export const day = (iso) => DAY.format(new Date(iso));
export const shortDay = (iso) => SHORT_DAY.format(new Date(iso));

export function moment(iso) {
  const at = new Date(iso);
  return Date.now() - at < 12 * 3600e3 && at <= Date.now() + 60e3 ? TIME.format(at) : MOMENT.format(at);
}

// A span in its one or two largest units: "2 h 5 min".
export function span(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = Math.round(ms / 1000);
  const first = UNITS.findIndex(([, size]) => seconds >= size);
  const [name, size] = UNITS[first];
  const rest = UNITS[first + 1];
  const more = rest ? Math.floor((seconds % size) / rest[1]) : 0;
  return `${Math.floor(seconds / size)} ${name}` + (more && first < 2 ? ` ${more} ${rest[0]}` : "");
}

// The largest unit only: what changes each second should not be wide.
export function age(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const [name, size] = UNITS.find(([, each]) => seconds >= each) ?? UNITS[3];
  return `${Math.floor(seconds / size)} ${name}`;
}

// "partly_allocated" and "LineAnswered" as words.
export function words(code) {
  const text = String(code).replace(/_/g, " ").replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  const named = text.replace(/\b(erp|wms|atp|crm|edi|api)\b/g, (name) => name.toUpperCase());
  return named.charAt(0).toUpperCase() + named.slice(1);
}
