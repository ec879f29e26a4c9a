// Names, roles and references, as a screen reader needs them. Returns sentences about what is wrong.
() => {
  const wrong = [];
  const idle = (e) => !e.checkVisibility();
  const all = (selector) => [...document.querySelectorAll(selector)].filter((e) => !idle(e));
  const start = (e) => e.outerHTML.slice(0, 80);
  const inner = (e) => [...e.querySelectorAll("[aria-label]")].map((each) => each.getAttribute("aria-label")).join("");
  const name = (e) => (e.getAttribute("aria-label") || e.textContent || "").trim() || inner(e);
  const label = (e) => e.getAttribute("aria-label") || [...e.labels].some((each) => each.textContent.trim());

  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of new Set(ids)) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push(`two elements have the id ${id}`);
  for (const e of all("[aria-labelledby]")) {
    const of = document.getElementById(e.getAttribute("aria-labelledby"));
    if (!of?.textContent.trim()) wrong.push(`labelled by nothing: ${start(e)}`);
  }
  for (const e of all("button, a")) if (!name(e)) wrong.push(`no name: ${start(e)}`);
  for (const e of all("input, textarea, select")) if (!label(e)) wrong.push(`no label: ${start(e)}`);
  for (const e of all("svg")) {
    if (!e.getAttribute("aria-label") && e.getAttribute("aria-hidden") !== "true") wrong.push(`neither named nor hidden: ${start(e)}`);
  }
  for (const e of all("th")) if (!e.scope) wrong.push(`a header cell without scope: ${start(e)}`);
  for (const tag of ["main", "h1", "body > header"]) {
    if (document.querySelectorAll(tag).length !== 1) wrong.push(`there is not one ${tag}`);
  }
  for (const e of all("section")) {
    if (!e.closest("dialog") && !e.getAttribute("aria-labelledby")) wrong.push(`a section without a name: ${start(e)}`);
  }
  if (document.documentElement.lang !== "en") wrong.push("the page's language is not given");
  let level = 0;
  for (const e of document.querySelectorAll("h1, h2, h3, h4")) {
    if (e.closest("dialog")) continue;
    const now = Number(e.tagName[1]);
    if (now > level + 1) wrong.push(`heading ${e.textContent} skips a level`);
    level = now;
  }
  return wrong;
}
