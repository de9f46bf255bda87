// Single comparisons: a list that makes only the lines in sight, and what was said beside it.
const LINE = 52, AROUND = 6;
const FLAGS = {
  disagree: "judges disagree",
  inconsistent: "inconsistent under swap",
  unread: "unread",
  truncated: "cut off",
};
const LONGEST = "longest tenth";
const ORDERS = {
  "order of the prompts": null,
  "longest answers first": (a, b) => (b.a ?? "").length - (a.a ?? "").length,
  "lost most clearly first": (a, b) => (a.o ?? a.r ?? 99) - (b.o ?? b.r ?? 99),
  "won most clearly first": (a, b) => (b.o ?? b.r ?? -1) - (a.o ?? a.r ?? -1),
};

const winner = (one) => (one.o === null || one.o === undefined ? "" : Math.abs(one.o - 0.5) < 1e-9 ? "tie" : one.o > 0.5 ? "win" : "loss");

class Viewer {
  constructor(group) {
    this.group = group;
    this.rows = group.rows.filter((row) => row.texts !== null);
    this.flags = new Set();
    this.wanted = "";
    this.result = "";
    this.order = Object.keys(ORDERS)[0];
    this.shown = [];
    this.at = -1;
    this.list = el("div", { class: "list", role: "listbox", tabindex: "0", "aria-label": "Comparisons", id: "comparisons",
      scroll: () => this.paint(), keydown: (event) => this.step(event) });
    this.spacer = el("div");
    this.list.append(this.spacer);
    this.detail = el("article", { class: "detail", id: "comparison", "aria-label": "Comparison" });
    this.count = el("span", { class: "quiet", role: "status", id: "count" });
    this.loading = 0;
  }

  get node() {
    const method = chooser("method", this.rows.map((row) => row.label), 0, (at) => this.load(this.rows[at], this.chosen?.id));
    this.method = method;
    return [this.controls(method), el("div", { class: "viewer" }, this.list, this.detail)];
  }

  controls(method) {
    const known = Object.entries(FLAGS).concat([["longest", LONGEST]]);
    const boxes = known.map(([name, told]) => el("label", {},
      el("input", { type: "checkbox", value: name, change: (event) => { this.flags[event.target.checked ? "add" : "delete"](name); this.filter(); } }), told));
    const results = ["", "win", "tie", "loss"];
    let timer = 0;
    const search = el("input", { type: "search", id: "search", autocomplete: "off", input: (event) => {
      clearTimeout(timer);
      timer = setTimeout(() => { this.wanted = event.target.value.toLowerCase(); this.filter(); }, 120);
    } });
    return [
      el("div", { class: "bar" }, el("label", { for: "method" }, "Method"), method,
        el("label", { for: "search" }, "Search"), search,
        el("label", { for: "result" }, "Result"), chooser("result", ["any", ...results.slice(1)], 0, (at) => { this.result = results[at]; this.filter(); }),
        el("label", { for: "order" }, "Order"), chooser("order", Object.keys(ORDERS), 0, (at) => { this.order = Object.keys(ORDERS)[at]; this.filter(); })),
      el("fieldset", { class: "bar" }, el("legend", {}, "Only"), boxes, this.count),
      el("p", { class: "notes" }, "j and k, or the arrows, step through the list; the address of the page is a link to the comparison that is shown."),
    ];
  }

  async load(row, wanted) {
    const turn = (this.loading += 1);
    const [own, shared] = await Promise.all([texts(row.texts), texts(this.group.texts)]).catch(() => []);
    if (turn !== this.loading) return;
    if (!own) {
      this.detail.replaceChildren(el("p", {}, "This browser cannot unpack the comparisons: a newer one is needed (DecompressionStream)."));
      return;
    }
    this.row = row;
    this.own = own;
    this.shared = shared;
    this.method.value = String(this.rows.indexOf(row));
    const ordered = own.map((one) => (one.a ?? "").length).sort((a, b) => b - a);
    this.long = ordered[Math.max(0, Math.ceil(ordered.length / 10) - 1)] ?? 0;
    this.filter(wanted);
  }

  prompt(one) {
    return (this.shared.prompts[one.id] ?? []).map(([, content]) => content).join("\n");
  }

  // The last turn: what tells the prompts of a conversation apart.
  asked(one) {
    return this.shared.prompts[one.id]?.at(-1)?.[1] ?? "";
  }

  baseline(one) {
    return "b" in one ? one.b : this.shared.baseline[one.id] ?? null;
  }

  has(one, flag) {
    return flag === "longest" ? (one.a ?? "").length >= this.long && this.long > 0 : one.f.includes(flag);
  }

  matches(one) {
    if (this.result && winner(one) !== this.result) return false;
    if (![...this.flags].every((flag) => this.has(one, flag))) return false;
    if (!this.wanted) return true;
    one.folded ??= [one.id, this.prompt(one), one.a, this.baseline(one), ...one.g.map((game) => game[3])].join("\n").toLowerCase();
    return one.folded.includes(this.wanted);
  }

  filter(wanted = this.chosen?.id) {
    this.shown = this.own.filter((one) => this.matches(one));
    if (ORDERS[this.order]) this.shown.sort(ORDERS[this.order]);
    this.count.textContent = `${this.shown.length} of ${this.own.length} comparisons`;
    this.spacer.style.height = `${this.shown.length * LINE}px`;
    const place = this.shown.findIndex((one) => one.id === wanted);
    this.choose(place < 0 ? 0 : place, { tell: this.told });
  }

  choose(at, { tell = true } = {}) {
    this.at = Math.max(0, Math.min(at, this.shown.length - 1));
    this.chosen = this.shown[this.at];
    const top = this.at * LINE;
    if (top < this.list.scrollTop || top + LINE > this.list.scrollTop + this.list.clientHeight) {
      this.list.scrollTop = top - this.list.clientHeight / 3;
    }
    this.paint();
    this.detail.replaceChildren(...(this.chosen ? comparisonOf(this) : [el("p", {}, "Nothing fits the filters.")]));
    if (tell && this.chosen) history.replaceState(null, "", this.address);
    this.told = this.told || tell;
  }

  get address() {
    return `#${new URLSearchParams({ result: this.row.source, prompt: this.chosen.id })}`;
  }

  step(event) {
    const by = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.choose(this.at + by);
  }

  paint() {
    const first = Math.max(0, Math.floor(this.list.scrollTop / LINE) - AROUND);
    const last = Math.min(this.shown.length, Math.ceil((this.list.scrollTop + this.list.clientHeight) / LINE) + AROUND);
    const nodes = [];
    for (let at = first; at < last; at += 1) nodes.push(this.option(at));
    this.spacer.replaceChildren(...nodes);
    this.list.setAttribute("aria-activedescendant", this.shown.length ? `option-${this.at}` : "");
  }

  option(at) {
    const one = this.shown[at];
    const node = el("div", { class: "option", role: "option", id: `option-${at}`, "aria-selected": String(at === this.at),
      "aria-setsize": this.shown.length, "aria-posinset": at + 1, click: () => this.choose(at) },
    el("bdi", {}, this.asked(one).slice(0, 120) || one.id),
    el("span", { class: "quiet" }, [verdictOf(one), ...one.f.map((flag) => FLAGS[flag])].join(" · ")));
    node.style.transform = `translateY(${at * LINE}px)`;
    return node;
  }
}

function verdictOf(one) {
  if (one.r !== null && one.r !== undefined) return `rated ${one.r}`;
  if (one.o === null || one.o === undefined) return one.g.length ? "unread" : "not judged";
  return `${winner(one)}, ${(100 * one.o).toFixed(1)} %`;
}
