// The board: a column for each stage, the orders that changed last on top, and cards that move when their order does.

import { byId, h, icon, say } from "./dom.js";
import { number, words } from "./format.js";

const SHOWN = 12;
const FEWEST = 6;
const TAIL = 6;
const MOVE_MS = 520;
const APPEAR_MS = 260;
const GLYPHS = {
  received: "wait", open: "wait", held: "hold", backordered: "off", partly_allocated: "half", allocated: "box",
  released: "half", picking: "half", staged: "box", partly_shipped: "half", shipped: "ok", invoiced: "ok",
  cancelled: "close", refused: "bad", returned: "back",
};
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const cards = new Map(); // order id -> its list item

export function showBoard(board, openOrder) {
  const focused = document.activeElement?.closest?.(".order-card")?.dataset.key;
  cards.clear();
  for (const [stage, rows] of Object.entries(board)) listOf(stage).replaceChildren(...rows.map((row) => made(row, openOrder)));
  if (focused) cards.get(focused)?.firstElementChild.focus({ preventScroll: true });
}

// Returns whether a column has run out of cards to show: its orders have to be read again.
export function showCounts(pulse) {
  let total = 0;
  let isShort = false;
  for (const [stage, count] of Object.entries(pulse.stages)) {
    const column = byId(`stage-${stage}`);
    total += count;
    say(column.querySelector(".count"), number(count));
    column.classList.toggle("is-empty", count === 0);
    const held = listOf(stage).children.length;
    const hidden = count - held;
    isShort ||= hidden > 0 && held < FEWEST;
    say(column.querySelector(".more"), hidden > 0 ? `and ${number(hidden)} more` : "");
  }
  say(byId("orders-about"), `${number(total)} in all, those that changed last on top`);
  return isShort;
}

export function moveOrders(rows, openOrder) {
  if (!rows.length) return;
  const before = calm.matches || document.hidden ? null : places();
  const focused = document.activeElement;
  for (const row of rows) place(row, openOrder);
  if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
  if (before) animate(before);
}

function place(row, openOrder) {
  const list = listOf(row.stage);
  let card = cards.get(row.id);
  if (card) {
    const isMoving = card.parentElement !== list || card.dataset.status !== row.status;
    update(card, row);
    if (!isMoving) return;
  } else card = made(row, openOrder);
  list.prepend(card);
  while (list.children.length > SHOWN) {
    cards.delete(list.lastElementChild.dataset.key);
    list.lastElementChild.remove();
  }
}

function places() {
  const found = [...cards].map(([id, card]) => [id, card.getBoundingClientRect()]);
  return new Map(found.filter(([, box]) => box.width > 0)); // those below the fold of their column come from nowhere
}

function animate(before) {
  for (const [id, card] of cards) {
    const from = before.get(id);
    const to = card.getBoundingClientRect();
    if (to.width === 0) continue;
    if (!from) {
      card.animate([{ opacity: 0.3, transform: "translateY(-0.35rem)" }, { opacity: 1, transform: "none" }], { duration: APPEAR_MS, easing: "ease-out" });
      continue;
    }
    const [x, y] = [from.left - to.left, from.top - to.top];
    if (!x && !y) continue;
    const isFar = Math.abs(x) > 2;
    if (isFar) card.classList.add("is-moving");
    const motion = card.animate([{ transform: `translate(${x}px, ${y}px)` }, { transform: "none" }], {
      duration: isFar ? MOVE_MS * 1.4 : MOVE_MS,
      easing: "cubic-bezier(0.3, 0, 0.1, 1)",
    });
    motion.onfinish = motion.oncancel = () => card.classList.remove("is-moving");
  }
}

function made(row, openOrder) {
  const button = h(
    "button",
    { type: "button", onclick: () => openOrder(row.id) },
    h("span", { class: "ref" }, h("span", { class: "head" }), h("span", { class: "tail" })),
    h("span", { class: "status" }),
    h("span", { class: "size" }),
  );
  const card = h("li", { class: "order-card", data: { key: row.id } }, button);
  cards.set(row.id, card);
  update(card, row);
  return card;
}

function update(card, row) {
  if (card.dataset.status !== row.status) {
    card.dataset.status = row.status;
    card.querySelector(".status").replaceChildren(icon(GLYPHS[row.status] ?? "info"), words(row.status));
  }
  const ref = row.ref || row.id; // cut in its middle where it is too long: its end is what tells orders apart
  say(card.querySelector(".head"), ref.slice(0, -TAIL));
  say(card.querySelector(".tail"), ref.slice(-TAIL));
  const size = row.lines === 1 ? "1 line" : `${row.lines} lines`;
  card.firstElementChild.setAttribute("aria-label", `${ref}, ${words(row.status)}, ${size}, ${row.channel}`);
  say(card.querySelector(".size"), `${size} · ${row.channel}`);
}

function listOf(stage) {
  return byId(`stage-${stage}`).querySelector(".cards");
}
