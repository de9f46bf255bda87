// Single comparisons: a list that creates only the visible lines, and the details beside it.
const LINE_HEIGHT = 52, MARGIN_LINES = 6;
const FLAGS = {
  disagree: "judges disagree",
  inconsistent: "inconsistent under swap",
  unparsed: "unparsed",
  truncated: "cut off",
};
const LONGEST_LABEL = "longest tenth";
const ORDERS = {
  "order of the prompts": null,
  "longest answers first": (a, b) => (b.a ?? "").length - (a.a ?? "").length,
  "lost most clearly first": (a, b) => (a.o ?? a.r ?? 99) - (b.o ?? b.r ?? 99),
  "won most clearly first": (a, b) => (b.o ?? b.r ?? -1) - (a.o ?? a.r ?? -1),
};

const winner = (comparison) => (comparison.o === null || comparison.o === undefined ? "" : Math.abs(comparison.o - 0.5) < 1e-9 ? "tie" : comparison.o > 0.5 ? "win" : "loss");

class Viewer {
  constructor(group) {
    this.group = group;
    this.rows = group.rows.filter((row) => row.texts !== null);
    this.flags = new Set();
    this.wanted = "";
    this.result = "";
    this.order = Object.keys(ORDERS)[0];
    this.shown = [];
    this.index = -1;
    this.list = el("div", { class: "list", role: "listbox", tabindex: "0", "aria-label": "Comparisons", id: "comparisons",
      scroll: () => this.paint(), keydown: (event) => this.step(event) });
    this.spacer = el("div");
    this.list.append(this.spacer);
    this.detail = el("article", { class: "detail", id: "comparison", "aria-label": "Comparison" });
    this.count = el("span", { class: "quiet", role: "status", id: "count" });
    this.loading = 0;
  }

  get node() {
    const method = selector("method", this.rows.map((row) => row.label), 0, (index) => this.load(this.rows[index], this.selected?.id));
    this.method = method;
    return [this.controls(method), el("div", { class: "viewer" }, this.list, this.detail)];
  }

  controls(method) {
    const known = Object.entries(FLAGS).concat([["longest", LONGEST_LABEL]]);
    const boxes = known.map(([name, label]) => el("label", {},
      el("input", { type: "checkbox", value: name, change: (event) => { this.flags[event.target.checked ? "add" : "delete"](name); this.filter(); } }), label));
    const results = ["", "win", "tie", "loss"];
    let timer = 0;
    const search = el("input", { type: "search", id: "search", autocomplete: "off", input: (event) => {
      clearTimeout(timer);
      timer = setTimeout(() => { this.wanted = event.target.value.toLowerCase(); this.filter(); }, 120);
    } });
    return [
      el("div", { class: "bar" }, el("label", { for: "method" }, "Method"), method,
        el("label", { for: "search" }, "Search"), search,
        el("label", { for: "result" }, "Result"), selector("result", ["any", ...results.slice(1)], 0, (index) => { this.result = results[index]; this.filter(); }),
        el("label", { for: "order" }, "Order"), selector("order", Object.keys(ORDERS), 0, (index) => { this.order = Object.keys(ORDERS)[index]; this.filter(); })),
      el("fieldset", { class: "bar" }, el("legend", {}, "Only"), boxes, this.count),
      el("p", { class: "notes" }, "j and k, or the arrow keys, step through the list; the page's address is a link to the comparison shown."),
    ];
  }

  async load(row, wanted) {
    const turn = (this.loading += 1);
    const [own, shared] = await Promise.all([loadTexts(row.texts), loadTexts(this.group.texts)]).catch(() => []);
    if (turn !== this.loading) return;
    if (!own) {
      this.detail.replaceChildren(el("p", {}, "This browser cannot decompress the comparisons: a newer one is needed (DecompressionStream)."));
      return;
    }
    this.row = row;
    this.own = own;
    this.shared = shared;
    this.method.value = String(this.rows.indexOf(row));
    const ordered = own.map((comparison) => (comparison.a ?? "").length).sort((a, b) => b - a);
    this.long = ordered[Math.max(0, Math.ceil(ordered.length / 10) - 1)] ?? 0;
    this.filter(wanted);
  }

  prompt(comparison) {
    return (this.shared.prompts[comparison.id] ?? []).map(([, content]) => content).join("\n");
  }

  // The last turn: the prompts of a conversation differ in it.
  lastTurn(comparison) {
    return this.shared.prompts[comparison.id]?.at(-1)?.[1] ?? "";
  }

  baselineAnswer(comparison) {
    return "b" in comparison ? comparison.b : this.shared.baseline[comparison.id] ?? null;
  }

  has(comparison, flag) {
    return flag === "longest" ? (comparison.a ?? "").length >= this.long && this.long > 0 : comparison.f.includes(flag);
  }

  matches(comparison) {
    if (this.result && winner(comparison) !== this.result) return false;
    if (![...this.flags].every((flag) => this.has(comparison, flag))) return false;
    if (!this.wanted) return true;
    comparison.folded ??= [comparison.id, this.prompt(comparison), comparison.a, this.baselineAnswer(comparison), ...comparison.g.map((game) => game[3])].join("\n").toLowerCase();
    return comparison.folded.includes(this.wanted);
  }

  filter(wanted = this.selected?.id) {
    this.shown = this.own.filter((comparison) => this.matches(comparison));
    if (ORDERS[this.order]) this.shown.sort(ORDERS[this.order]);
    this.count.textContent = `${this.shown.length} of ${this.own.length} comparisons`;
    this.spacer.style.height = `${this.shown.length * LINE_HEIGHT}px`;
    const position = this.shown.findIndex((comparison) => comparison.id === wanted);
    this.choose(position < 0 ? 0 : position, { address: this.addressed });
  }

  choose(index, { address = true } = {}) {
    this.index = Math.max(0, Math.min(index, this.shown.length - 1));
    this.selected = this.shown[this.index];
    const top = this.index * LINE_HEIGHT;
    if (top < this.list.scrollTop || top + LINE_HEIGHT > this.list.scrollTop + this.list.clientHeight) {
      this.list.scrollTop = top - this.list.clientHeight / 3;
    }
    this.paint();
    this.detail.replaceChildren(...(this.selected ? comparisonDetail(this) : [el("p", {}, "No comparison matches the filters.")]));
    if (address && this.selected) history.replaceState(null, "", this.address);
    this.addressed = this.addressed || address;
  }

  get address() {
    return `#${new URLSearchParams({ result: this.row.source, prompt: this.selected.id })}`;
  }

  step(event) {
    const by = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.choose(this.index + by);
  }

  paint() {
    const first = Math.max(0, Math.floor(this.list.scrollTop / LINE_HEIGHT) - MARGIN_LINES);
    const last = Math.min(this.shown.length, Math.ceil((this.list.scrollTop + this.list.clientHeight) / LINE_HEIGHT) + MARGIN_LINES);
    const nodes = [];
    for (let index = first; index < last; index += 1) nodes.push(this.option(index));
    this.spacer.replaceChildren(...nodes);
    this.list.setAttribute("aria-activedescendant", this.shown.length ? `option-${this.index}` : "");
  }

  option(index) {
    const comparison = this.shown[index];
    const node = el("div", { class: "option", role: "option", id: `option-${index}`, "aria-selected": String(index === this.index),
      "aria-setsize": this.shown.length, "aria-posinset": index + 1, click: () => this.choose(index) },
    el("bdi", {}, this.lastTurn(comparison).slice(0, 120) || comparison.id),
    el("span", { class: "quiet" }, [outcomeText(comparison), ...comparison.f.map((flag) => FLAGS[flag])].join(" · ")));
    node.style.transform = `translateY(${index * LINE_HEIGHT}px)`;
    return node;
  }
}

function outcomeText(comparison) {
  if (comparison.r !== null && comparison.r !== undefined) return `rated ${comparison.r}`;
  if (comparison.o === null || comparison.o === undefined) return comparison.g.length ? "unparsed" : "not judged";
  return `${winner(comparison)}, ${(100 * comparison.o).toFixed(1)} %`;
}
