"use strict";
(() => {
  const one = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const list = one("#images"), cards = all("#images > .card");
  const search = one("#search"), floor = one("#floor"), order = one("#order"), boxed = one("#only-boxes");

  function fits(card) {
    const wanted = all("[name=status]:checked").map((box) => box.value);
    const words = search.value.trim().toLowerCase();
    const low = floor ? Number(floor.value) : 0;
    return wanted.includes(card.dataset.status)
      && card.dataset.text.toLowerCase().includes(words)
      && (!boxed.checked || Number(card.dataset.boxes) > 0)
      && (low === 0 || Number(card.dataset.lead) >= low);
  }
  function filter() {
    let shown = 0;
    for (const card of cards) {
      card.hidden = !fits(card);
      shown += card.hidden ? 0 : 1;
    }
    one("#count").textContent = shown;
    one("#nothing").hidden = shown > 0;
    if (floor) one("#floor-value").textContent = Number(floor.value).toFixed(2);
  }
  const orders = {
    index: (a, b) => a.dataset.index - b.dataset.index,
    lead: (a, b) => b.dataset.lead - a.dataset.lead || orders.index(a, b),
    best: (a, b) => b.dataset.best - a.dataset.best || orders.index(a, b),
    name: (a, b) => a.dataset.name.localeCompare(b.dataset.name, undefined, { numeric: true }),
  };
  order.addEventListener("change", () => list.append(...cards.sort(orders[order.value])));
  [search, floor, boxed, ...all("[name=status]")].forEach((input) => input && input.addEventListener("input", filter));

  all("[data-view]").forEach((button) => button.addEventListener("click", () => {
    list.className = button.dataset.view;
    all("[data-view]").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
  }));

  all("th button").forEach((button) => button.addEventListener("click", () => {
    const head = button.closest("th"), body = head.closest("table").tBodies[0];
    const up = head.getAttribute("aria-sort") === "descending";
    const sign = up ? 1 : -1, column = head.cellIndex;
    const text = (row) => row.cells[column].textContent.trim();
    const number = (row) => Number.isNaN(Number(text(row))) ? -1 : Number(text(row));
    const compare = button.dataset.sort === "number"
      ? (a, b) => sign * (number(a) - number(b))
      : (a, b) => sign * text(a).localeCompare(text(b), undefined, { numeric: true });
    all("th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...[...body.rows].sort(compare));
  }));

  const viewer = one("#viewer"), image = one("#viewer-image"), marks = one("#marks");
  let current = null;
  function show(link) {
    if (!link) return;
    current = link;
    image.src = marks.checked ? link.getAttribute("href") : link.dataset.plain;
    image.alt = link.querySelector("img").alt;
    one("#viewer-caption").textContent = link.dataset.caption;
    if (!viewer.open) viewer.showModal();
  }
  function step(by) {
    const links = all("#images > .card:not([hidden]) a.picture");
    show(links[(links.indexOf(current) + by + links.length) % links.length]);
  }
  list.addEventListener("click", (event) => {
    const link = event.target.closest("a.picture");
    if (!link || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    show(link);
  });
  marks.addEventListener("change", () => show(current));
  one("#previous").addEventListener("click", () => step(-1));
  one("#next").addEventListener("click", () => step(1));
  one("#close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") step(1);
    else if (event.key === "ArrowLeft") step(-1);
    else if (event.key === " " && event.target.tagName !== "BUTTON") {
      event.preventDefault();
      marks.checked = !marks.checked;
      show(current);
    }
  });
  viewer.addEventListener("close", () => current && current.focus());
})();
