// The few lines of DOM work that every page shares.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element. `props`: class, text, on (listeners), anything else is an attribute; null children are left out. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined) continue;
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name === "on") for (const [event, call] of Object.entries(value)) node.addEventListener(event, call);
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Make an icon from the symbols in index.html. Decorative: the word stands beside it. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Point an icon at another symbol, only when it differs. */
export function setIcon(svg, name) {
  const href = `#i-${name}`;
  if (svg.firstChild.getAttribute("href") !== href) svg.firstChild.setAttribute("href", href);
}

/** Set text, only when it differs: an untouched node costs no layout and keeps a reader's selection. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Set a data attribute, only when it differs. */
export function setData(node, name, value) {
  if (node.dataset[name] !== value) node.dataset[name] = value;
}

/** Icon and word in one span; returns {node, set(name, word)}. */
export function badge(kind) {
  const mark = icon("Calm");
  const word = el("span");
  const node = el("span", { class: `badge ${kind}` }, mark, word);
  return {
    node,
    set(name, text) {
      setData(node, "value", name);
      setIcon(mark, name);
      setText(word, text);
    },
  };
}

/** A bar of 0..1000 with its figure; returns {node, set(permille or null, text)}. */
export function meter() {
  const fill = el("i");
  const figure = el("span", { class: "num" });
  const node = el("span", { class: "meter" }, el("span", { class: "track", "aria-hidden": "true" }, fill), figure);
  return {
    node,
    set(permille, text) {
      fill.style.setProperty("width", `${Math.max(0, Math.min(1000, permille ?? 0)) / 10}%`);
      setData(node, "low", permille !== null && permille < 150 ? "1" : "0");
      setData(node, "none", permille === null ? "1" : "0");
      setText(figure, text);
    },
  };
}

/** Size a canvas for the screen's pixels and return its context, scaled to CSS pixels and cleared. */
export function canvasContext(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/** The value of a colour token such as "calm" in the present theme. */
export function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Fetch JSON; throws an Error with the server's one line when it refuses. */
export async function getJson(url) {
  const reply = await fetch(url, { headers: { accept: "application/json" } });
  const body = await reply.json();
  if (!reply.ok) throw Object.assign(new Error(body.error ?? reply.statusText), { status: reply.status });
  return body;
}
