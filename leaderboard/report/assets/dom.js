// Elements are created and text is set, never parsed: nothing that a result holds can run.
const SVG = "http://www.w3.org/2000/svg";
const DASH = "–";

function populate(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const el = (name, attributes, ...children) =>
  populate(document.createElement(name), attributes, children);

const svg = (name, attributes, ...children) =>
  populate(document.createElementNS(SVG, name), attributes, children);

const isolated = (label) => el("bdi", {}, label);

const fixed = (value, digits) =>
  value === null || value === undefined ? DASH : value.toFixed(digits);

const hasBounds = (figure) => Number.isFinite(figure.low) && Number.isFinite(figure.high);

function interval(figure, digits) {
  if (!figure) return DASH;
  if (!hasBounds(figure)) return fixed(figure.value, digits);
  return `${fixed(figure.value, digits)} [${fixed(figure.low, digits)}, ${fixed(figure.high, digits)}]`;
}

function signed(value, digits) {
  const text = fixed(value, digits);
  return value > 0 ? `+${text}` : text.replace("-", "−");
}

const hue = (index) => `hue-${index % 6}`;

function dataTable(headings, rows) {
  const heads = headings.map((text, index) =>
    el("th", { scope: "col", class: index ? "number" : null }, isolated(text)));
  const lines = rows.map(([first, ...cells]) =>
    el("tr", {}, el("th", { scope: "row" }, isolated(first)),
      cells.map((cell) => el("td", { class: "number" }, cell))));
  return el("div", { class: "scroll" },
    el("table", {}, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, lines)));
}

// A figure's numbers, for readers who cannot see it.
const numbersTable = (headings, rows) =>
  el("details", {}, el("summary", {}, "The numbers as a table"), dataTable(headings, rows));
