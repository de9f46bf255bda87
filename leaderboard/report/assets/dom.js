// Elements are made, and text is set, never parsed: nothing that a result holds can run.
const SVG = "http://www.w3.org/2000/svg";
const DASH = "–";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const el = (name, attributes, ...children) =>
  filled(document.createElement(name), attributes, children);

const svg = (name, attributes, ...children) =>
  filled(document.createElementNS(SVG, name), attributes, children);

const called = (label) => el("bdi", {}, label);

const fixed = (value, digits) =>
  value === null || value === undefined ? DASH : value.toFixed(digits);

const bounded = (figure) => Number.isFinite(figure.low) && Number.isFinite(figure.high);

function interval(figure, digits) {
  if (!figure) return DASH;
  if (!bounded(figure)) return fixed(figure.value, digits);
  return `${fixed(figure.value, digits)} [${fixed(figure.low, digits)}, ${fixed(figure.high, digits)}]`;
}

function signed(value, digits) {
  const text = fixed(value, digits);
  return value > 0 ? `+${text}` : text.replace("-", "−");
}

const hue = (at) => `hue-${at % 6}`;

function listed(headings, rows) {
  const heads = headings.map((text, at) =>
    el("th", { scope: "col", class: at ? "number" : null }, called(text)));
  const lines = rows.map(([first, ...cells]) =>
    el("tr", {}, el("th", { scope: "row" }, called(first)),
      cells.map((cell) => el("td", { class: "number" }, cell))));
  return el("div", { class: "scroll" },
    el("table", {}, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, lines)));
}

// A table for those who do not look at pictures.
const plain = (headings, rows) =>
  el("details", {}, el("summary", {}, "The numbers as a table"), listed(headings, rows));
