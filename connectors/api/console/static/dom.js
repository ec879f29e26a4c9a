// Elements from values. Text is always text: nothing that came from outside is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

// What cannot be seen, or would turn its neighbours around, is written out: controls, line separators, bidirectional marks.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

export const visible = (text) => String(text).replace(UNSEEN, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

export const byId = (id) => document.getElementById(id);

export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : typeof value === "string" ? visible(value) : value);
  }
  const shown = children.flat().filter((child) => child !== null && child !== undefined && child !== false);
  element.append(...shown.map((child) => (child instanceof Node ? child : visible(child))));
  return element;
}

export function icon(name, label = "") {
  const shape = svg("svg", label ? { role: "img", "aria-label": label, class: "icon" } : { "aria-hidden": "true", class: "icon" });
  shape.append(svg("use", { href: `#i-${name}` }));
  return shape;
}

// Sets text only where it differs, so that screen readers and animations are left alone.
export function say(element, text) {
  const shown = visible(text);
  if (element.textContent !== shown) element.textContent = shown;
}

// Makes a list show `rows`, keeping the element of each key: focus and hover stay where they are.
export function sync(list, rows, keyOf, make, update) {
  const old = new Map([...list.children].map((child) => [child.dataset.key, child]));
  let at = list.firstElementChild;
  for (const row of rows) {
    const key = keyOf(row);
    let child = old.get(key);
    if (child) old.delete(key);
    else {
      child = make(row);
      child.dataset.key = key;
    }
    update(child, row);
    if (child === at) at = at.nextElementSibling;
    else list.insertBefore(child, at);
  }
  for (const child of old.values()) child.remove();
}
