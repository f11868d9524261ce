"use strict";
// Everything that comes from an input is set as text, never as markup.
function hilum(run) {
  const one = (selector) => document.querySelector(selector);
  const COLUMNS = ["path", "status", "reason", "warnings", "width", "height", "scores", "boxes", "outlines", "files", "masks", "study"];
  const images = run.images.map((row, index) => {
    const image = { index };
    COLUMNS.forEach((name, i) => { image[name] = row[i]; });
    image.short = image.path.replace(/\\/g, "/").replace(/\/+$/, "").split("/").pop().split("!").pop() || image.path;
    image.lead = (run.lead && image.scores[run.scores.indexOf(run.lead)]) ?? -1;
    image.best = image.boxes.length ? image.boxes[0][1] : -1;
    image.text = [image.path, image.reason, image.study, ...image.warnings].join(" ").toLowerCase();
    return image;
  });
  const text = (name) => (run.labels[name] || [name])[0];
  const colour = (name) => (run.labels[name] || [name, "#ffb000"])[1];
  const fixed = (value) => value === null || value < 0 ? "–" : value.toFixed(2);

  function element(name, properties = {}, ...children) {
    const { dataset, style, ...rest } = properties;
    const made = Object.assign(document.createElement(name), rest);
    Object.assign(made.dataset, dataset || {});
    Object.assign(made.style, style || {});
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }
  function svg(name, attributes, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // --- What is drawn on a radiograph: source pixels, scaled by the viewBox ---------------------
  const drawn = (key) => one(`#draw-${key}`).checked;
  const from = () => Number(one("#boxes").value);
  // Findings with an outline and no box, such as a segmenter's: what is outlined was found.
  const ANATOMY = new Set(["lungs", "lungs_full"]);
  function outlined(image) {
    const boxed = new Set(shown(image).map((box) => box[0]));
    return Object.keys(image.outlines).filter((name) => !ANATOMY.has(name) && image.outlines[name] && !boxed.has(name));
  }
  const marked = (image) => shown(image).length > 0 || outlined(image).length > 0;
  function marks(image, words) {
    const { width: w, height: h } = image;
    const layer = svg("svg", { viewBox: `0 0 ${w} ${h}`, "aria-hidden": "true" });
    const order = Object.keys(image.outlines).sort((a) => a === "lungs" ? -1 : 1);
    for (const name of order) {
      if (!drawn(name === "lungs" ? "lungs" : "outlines")) continue;
      for (const [kind, ink] of [["halo", "#000"], ["line", colour(name)]])
        layer.append(svg("path", { d: image.outlines[name], class: kind, stroke: ink }));
    }
    if (!drawn("boxes")) return layer;
    const size = Math.max(w, h) / 46;
    for (const [label, score, x1, y1, x2, y2] of shown(image).reverse()) {
      const place = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
      layer.append(svg("rect", { ...place, class: "halo", stroke: "#000" }), svg("rect", { ...place, class: "line box", stroke: colour(label) }));
      if (!words) continue;
      const above = y1 > size * 1.5;
      layer.append(svg("text", { x: Math.min(x1, w - size * 9), y: above ? y1 - size * .45 : Math.min(y2 + size * 1.15, h - size * .3), "font-size": size, fill: colour(label) },
        `${text(label)} ${score.toFixed(2)}`));
    }
    return layer;
  }
  const shown = (image) => image.boxes.filter((box) => box[1] >= from());

  // --- Which images, in which order ------------------------------------------------------------
  const search = one("#search"), status = one("#status"), order = one("#order"), floor = one("#floor"), boxes = one("#boxes");
  const orders = {
    "as given": (a, b) => a.index - b.index,
    [`highest ${run.lead}`]: (a, b) => b.lead - a.lead || a.index - b.index,
    [`lowest ${run.lead}`]: (a, b) => a.lead - b.lead || a.index - b.index,
    "highest box": (a, b) => b.best - a.best || a.index - b.index,
    name: (a, b) => collator.compare(a.path, b.path),
  };
  const collator = new Intl.Collator(undefined, { numeric: true });
  const kinds = {
    "": () => true,
    boxes: (image) => marked(image),
    none: (image) => image.status === "analysed" && !marked(image),
    warned: (image) => image.warnings.length > 0,
  };
  for (const name of Object.keys(orders)) if (run.lead || !/est (null|undefined)/.test(name)) order.append(element("option", { textContent: name }));
  if (!run.lead) one("#floor-field").remove();
  else one("#floor-name").textContent = text(run.lead);
  boxes.min = Math.floor(run.box * 100) / 100;
  boxes.value = boxes.min;
  one("#point").textContent = pointText();
  function pointText() {
    const known = Object.entries(run.points).find(([, point]) => point.score === "box");
    if (!known) return "";
    const [name, { threshold, reason }] = known;
    return `Boxes stand from ${threshold.toFixed(2)}: operating point “${name}” (${reason}). Those below were not kept; the slider can only raise it.`;
  }

  let list = images;
  function choose() {
    const words = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const low = run.lead ? Number(floor.value) : 0;
    const kind = kinds[status.value] || ((image) => image.status === status.value);
    list = images.filter((image) => kind(image) && (low === 0 || image.lead >= low) && words.every((word) => image.text.includes(word)));
    list.sort(orders[order.value]);
    one("#count").textContent = list.length;
    one("#nothing").hidden = list.length > 0;
    if (run.lead) one("#floor-value").textContent = low.toFixed(2);
    one("#boxes-value").textContent = from().toFixed(2);
    draw(true);
  }

  // --- The cards in view, and only they --------------------------------------------------------
  const field = one("#images"), GAP = 14, SIZES = { small: 150, medium: 240, large: 380 };
  let side = SIZES.medium, made = new Map(), printing = false;
  function layout() {
    const columns = Math.max(1, Math.floor((field.clientWidth + GAP) / (side + GAP)));
    const width = (field.clientWidth - GAP * (columns - 1)) / columns;
    return { columns, width, height: width + (side === SIZES.small ? 62 : 100) };
  }
  function draw(anew = false) {
    const { columns, width, height } = layout(), step = height + GAP;
    field.style.height = `${Math.max(0, Math.ceil(list.length / columns) * step - GAP)}px`;
    const top = printing ? 0 : -field.getBoundingClientRect().top, view = printing ? 60 * step : window.innerHeight;
    const first = Math.max(0, Math.floor((top - view / 2) / step)) * columns;
    const last = Math.min(list.length, Math.ceil((top + view * 1.5) / step) * columns);
    const kept = anew ? new Map() : made;
    if (anew) field.replaceChildren();
    made = new Map();
    for (let at = first; at < last; at += 1) {
      const card = kept.get(at) || cardOf(list[at]);
      kept.delete(at);
      made.set(at, card);
      Object.assign(card.style, { width: `${width}px`, height: `${height}px`, transform: `translate(${(at % columns) * (width + GAP)}px, ${Math.floor(at / columns) * step}px)` });
      if (!card.isConnected) field.append(card);
    }
    for (const card of kept.values()) card.remove();
  }
  function cardOf(image) {
    const card = element("article", { className: `card ${image.status}`, title: image.path });
    card.setAttribute("role", "listitem");
    card.append(pictureOf(image), bodyOf(image));
    if (image.warnings.length) card.append(element("p", { className: "badge", textContent: `⚠ ${image.warnings.length}`, title: image.warnings.join("\n") }));
    return card;
  }
  function pictureOf(image) {
    if (!image.files.picture) return element("button", { type: "button", className: "picture none", dataset: { index: image.index } }, element("span", { textContent: image.status === "analysed" ? "no picture" : "not analysed" }));
    const button = element("button", { type: "button", className: "picture", dataset: { index: image.index } },
      element("img", { src: image.files.picture, alt: "", decoding: "async" }), marks(image, false));
    button.setAttribute("aria-label", `Open ${image.short}: ${summary(image)}`);
    return button;
  }
  function summary(image) {
    if (image.status !== "analysed") return image.reason || image.status;
    const found = shown(image), alone = outlined(image);
    if (!found.length && !alone.length) return "no target finding above the threshold";
    const best = found.slice(0, 4).map((box) => box[1].toFixed(2)).join(" · ");
    const boxes = found.length ? `${found.length} box${found.length === 1 ? "" : "es"}: ${best}${found.length > 4 ? " …" : ""}` : "no box";
    return alone.length ? `${boxes}; outlined: ${alone.map(text).join(", ")}` : boxes;
  }
  function bodyOf(image) {
    const body = element("div", { className: "body" }, element("h3", { textContent: image.short }));
    if (image.status === "analysed") {
      if (run.lead && image.lead >= 0) body.append(bar(run.lead, image.lead));
      body.append(element("p", { className: marked(image) ? "found" : "empty", textContent: summary(image) }));
    } else {
      const [code, ...words] = (image.reason || "").split(": ");
      body.append(element("p", {}, element("span", { className: "tag", textContent: image.status }), " ", element("code", { textContent: code })),
        element("p", { className: "why", textContent: words.join(": ") }));
    }
    return body;
  }
  function bar(name, value) {
    const points = Object.entries(run.points).filter(([, point]) => point.score === name);
    const track = element("span", { className: "track" }, element("span", { className: "fill", style: { width: `${100 * value}%` } }),
      ...points.map(([key, point]) => element("span", { className: "tick", title: `${key}: from ${point.threshold.toFixed(2)}`, style: { left: `${100 * point.threshold}%` } })));
    return element("div", { className: `score${name === run.lead ? " strong" : ""}` }, element("span", { className: "score-name", textContent: text(name) }), track, element("span", { className: "score-value", textContent: fixed(value) }));
  }

  // --- One image ------------------------------------------------------------------------------
  const viewer = one("#viewer"), stage = one("#stage"), sheet = one("#sheet");
  let current = null, zoom = 1, findings = true;
  function open(image) {
    if (!image) return;
    if (current !== image) zoom = 1;
    current = image;
    if (!viewer.open) viewer.showModal();
    one("#title").textContent = image.short;
    one("#path").textContent = image.path;
    sheet.replaceChildren(image.files.picture ? element("img", { src: image.files.picture, alt: `Radiograph ${image.short}`, draggable: false }) : element("p", { className: "why", textContent: image.reason || "There is no picture of this image." }));
    if (image.files.picture && findings) sheet.append(marks(image, true));
    one("#details").replaceChildren(...detailsOf(image));
    fit();
    history.replaceState(null, "", `#image-${image.index}`);
  }
  function detailsOf(image) {
    const out = [];
    const section = (title, ...children) => out.push(element("h3", { textContent: title }), ...children);
    if (image.status === "analysed") {
      section("Scores", ...run.scores.flatMap((name, i) => image.scores[i] === null ? [] : [bar(name, image.scores[i])]));
      const found = shown(image);
      section("Boxes", found.length
        ? element("ul", { className: "boxes" }, ...found.map(([label, score, ...box]) => element("li", {}, element("i", { style: { borderColor: colour(label) } }), `${text(label)} `, element("b", { textContent: score.toFixed(2) }), element("span", { className: "quiet", textContent: ` at ${box.slice(0, 2).map(Math.round)}, ${Math.round(box[2] - box[0])} × ${Math.round(box[3] - box[1])} px` }))))
        : element("p", { className: "empty", textContent: `${outlined(image).length ? "No box" : "No target finding"} above the threshold (${from().toFixed(2)}). This does not rule out disease.` }));
      if (outlined(image).length) section("Outlined, without a box", element("p", { className: "found", textContent: outlined(image).map(text).join(", ") }));
    } else section(image.status === "refused" ? "Refused" : "Failed", element("p", { className: "why", textContent: image.reason }));
    if (image.warnings.length) section("Warnings", ...image.warnings.map((words) => element("p", { className: "warned", textContent: words })));
    const links = [...Object.entries(image.files), ...Object.entries(image.masks).map(([name, file]) => [`${name} mask`, file])];
    if (links.length) section("Files", element("p", { className: "links" }, ...links.map(([name, file]) => element("a", { href: file, textContent: name, target: "_blank", rel: "noopener" }))));
    if (image.width) section("Image", element("p", { className: "quiet", textContent: `${image.width} × ${image.height} px` }), image.study ? element("p", { className: "quiet", textContent: `study ${image.study}` }) : null);
    return out.filter(Boolean);
  }
  function fit() {
    if (!current || !current.width) return;
    const scale = Math.min(stage.clientWidth / current.width, stage.clientHeight / current.height) * zoom;
    Object.assign(sheet.style, { width: `${current.width * scale}px`, height: `${current.height * scale}px` });
  }
  function magnify(by, event) {
    const before = stage.getBoundingClientRect(), old = zoom;
    zoom = Math.min(8, Math.max(1, zoom * by));
    const x = event ? event.clientX - before.left : stage.clientWidth / 2, y = event ? event.clientY - before.top : stage.clientHeight / 2;
    const left = (stage.scrollLeft + x) * zoom / old - x, top = (stage.scrollTop + y) * zoom / old - y;
    fit();
    stage.scrollTo(left, top);
  }
  function step(by) {
    const at = list.indexOf(current);
    if (list.length) open(list[(at + by + list.length) % list.length]);
  }
  function press(id) {
    const pressed = one(id).getAttribute("aria-pressed") !== "true";
    one(id).setAttribute("aria-pressed", String(pressed));
    return pressed;
  }
  const toggles = {
    "#all": () => { findings = press("#all"); open(current); },
    "#invert": () => sheet.classList.toggle("inverted", press("#invert")),
    "#previous": () => step(-1), "#next": () => step(1), "#close": () => viewer.close(),
    "#in": () => magnify(1.4), "#out": () => magnify(1 / 1.4), "#fit": () => { zoom = 1; fit(); },
  };
  for (const [id, action] of Object.entries(toggles)) one(id).addEventListener("click", action);
  stage.addEventListener("wheel", (event) => { event.preventDefault(); magnify(event.deltaY < 0 ? 1.15 : 1 / 1.15, event); }, { passive: false });
  stage.addEventListener("pointermove", (event) => { if (event.buttons & 1 && event.pointerType === "mouse") stage.scrollBy(-event.movementX, -event.movementY); });
  viewer.addEventListener("close", () => {
    const card = field.querySelector(`[data-index="${current.index}"]`);
    history.replaceState(null, "", location.pathname + location.search);
    if (card) card.focus();
  });

  // --- Keys: arrows walk, letters switch what is drawn -----------------------------------------
  const keys = { ArrowLeft: "#previous", ArrowRight: "#next", " ": "#all", i: "#invert", "+": "#in", "-": "#out", 0: "#fit" };
  const draws = { b: "#draw-boxes", o: "#draw-outlines", l: "#draw-lungs" };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT)$/.test(event.target.tagName) && event.target.type !== "checkbox") return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (draws[key]) one(draws[key]).click();
    else if (viewer.open && keys[key] && !(key === " " && event.target.tagName === "BUTTON")) one(keys[key]).click();
    else if (!viewer.open && key === "/") search.focus();
    else return;
    event.preventDefault();
  });
  field.addEventListener("click", (event) => {
    const button = event.target.closest(".picture");
    if (button) open(images[button.dataset.index]);
  });

  // --- Studies, a page at a time -----------------------------------------------------------------
  const table = one("#studies"), EACH = 25;
  const studies = run.studies.map(([uid, scores, members]) => ({ uid, scores, members }));
  let begin = 0, sorted = null;
  function drawStudies() {
    if (!table) return;
    const heads = [["Study", (s) => s.uid || ""], ["Images", (s) => s.members.length], ...run.scores.map((name, i) => [text(name), (s) => s.scores[i] ?? -1])];
    table.tHead.replaceChildren(element("tr", {}, ...heads.map(([name, key], i) => {
      const head = element("th", { scope: "col", className: i ? "number" : "" }, element("button", { type: "button", textContent: name, onclick: () => sortStudies(i, key) }));
      if (sorted && sorted.column === i) head.setAttribute("aria-sort", sorted.sign > 0 ? "ascending" : "descending");
      return head;
    }), element("th", { scope: "col", textContent: "Files" })));
    table.tBodies[0].replaceChildren(...studies.slice(begin, begin + EACH).map((study) => element("tr", {},
      element("td", { className: "uid", textContent: study.uid || "no study identifier" }), element("td", { className: "number", textContent: study.members.length }),
      ...study.scores.map((value) => element("td", { className: "number", textContent: fixed(value) })),
      element("td", {}, ...study.members.slice(0, 6).map((index) => element("button", { type: "button", className: "link", textContent: images[index].short, onclick: () => open(images[index]) })), study.members.length > 6 ? ` and ${study.members.length - 6} more` : ""))));
    one("#page-of").textContent = `${begin + 1}–${Math.min(begin + EACH, studies.length)} of ${studies.length}`;
    one("#fewer").disabled = begin === 0;
    one("#more").disabled = begin + EACH >= studies.length;
  }
  function sortStudies(column, key) {
    const sign = sorted && sorted.column === column && sorted.sign < 0 ? 1 : -1;
    sorted = { column, sign };
    studies.sort((a, b) => { const x = key(a), y = key(b); return sign * (typeof x === "string" ? collator.compare(x, y) : x - y); });
    begin = 0;
    drawStudies();
  }
  if (table) {
    one("#fewer").addEventListener("click", () => { begin = Math.max(0, begin - EACH); drawStudies(); });
    one("#more").addEventListener("click", () => { begin += EACH; drawStudies(); });
  }

  // --- Beginning -----------------------------------------------------------------------------------
  const redraw = () => { choose(); if (viewer.open) open(current); };
  for (const input of [search, status, order, floor, boxes, ...document.querySelectorAll("[id^=draw-]")]) input.addEventListener("input", redraw);
  one("#tools").addEventListener("submit", (event) => event.preventDefault());
  one("#reset").addEventListener("click", () => { search.value = ""; status.value = ""; floor.value = 0; boxes.value = boxes.min; redraw(); });
  document.querySelectorAll("[data-size]").forEach((button) => button.addEventListener("click", () => {
    side = SIZES[button.dataset.size];
    field.dataset.size = button.dataset.size;
    document.querySelectorAll("[data-size]").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    draw(true);
  }));
  let waiting = false;
  addEventListener("scroll", () => { if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; draw(); }); } }, { passive: true });
  addEventListener("resize", () => { draw(); fit(); });
  addEventListener("beforeprint", () => { printing = true; draw(true); });
  addEventListener("afterprint", () => { printing = false; draw(true); });
  choose();
  drawStudies();
  const asked = /^#image-(\d+)$/.exec(location.hash);
  if (asked) open(images[Number(asked[1])]);
}
