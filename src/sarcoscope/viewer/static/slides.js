// The list of slides, and which class of them is shown.

import { count } from "./tiles.js";

export const ALL = "all";

const TILES_TOGETHER = 30_000;
const SPARE = "#5b636c";

export const colorOf = (cohort, code) => cohort.colors[code] ?? SPARE;

export class SlideList {
  constructor({ onOpen, onClass }) {
    this.element = document.getElementById("slides");
    this.select = document.getElementById("class");
    this.onOpen = onOpen;
    this.cohort = null;
    this.unit = "slide";
    this.shown = [];
    this.rows = new Map();
    this.select.addEventListener("change", () => {
      this.fill();
      onClass();
      document.getElementById("grid").focus();
    });
  }

  /** The class that is shown; "" for all. */
  get label() {
    return this.select.value;
  }

  /** What a line of the list is called. */
  get Unit() {
    return this.unit[0].toUpperCase() + this.unit.slice(1);
  }

  setCohort(cohort) {
    this.cohort = cohort;
    this.unit = cohort.sheets.every((entry) => entry.isSlide || entry.error) ? "slide" : "sheet";
    document.getElementById("slides-title").textContent = `${this.Unit}s`;
    const sheets = new Map();
    for (const entry of cohort.sheets) {
      for (const label of Object.keys(entry.labels)) sheets.set(label, (sheets.get(label) ?? 0) + 1);
    }
    const labels = [...sheets.keys()].filter(Boolean).sort();
    this.select.replaceChildren(
      new Option(`all (${count(cohort.sheets.length, this.unit)})`, ""),
      ...labels.map((label) => new Option(`${label} (${count(sheets.get(label), this.unit)})`, label)),
    );
    this.fill();
  }

  fill() {
    const label = this.label;
    this.shown = this.cohort.sheets.map((_, n) => n).filter((n) => !label || label in this.cohort.sheets[n].labels);
    this.rows = new Map(this.shown.map((n) => [n, this.row(n)]));
    if (this.shown.length > 1) this.rows = new Map([[ALL, this.rowOfAll()], ...this.rows]);
    this.element.replaceChildren(...this.rows.values());
    for (const n of this.shown) this.paint(n);
    this.setOpen(this.open);
  }

  get nameOfAll() {
    return this.label ? `All ${this.unit}s with ${this.label}` : `All ${this.unit}s`;
  }

  rowOfAll() {
    const tiles = this.shown.reduce((sum, n) => sum + this.cohort.sheets[n].inUse + this.cohort.sheets[n].dropped, 0);
    const row = document.createElement("li");
    const button = document.createElement("button");
    button.className = "together";
    button.textContent = `${this.nameOfAll} together`;
    button.disabled = tiles > TILES_TOGETHER;
    if (button.disabled) button.title = `${count(tiles, "tile")}: too many at once; choose a class or a ${this.unit}`;
    button.addEventListener("click", () => {
      this.onOpen(ALL);
      document.getElementById("grid").focus();
    });
    row.append(button);
    return row;
  }

  row(n) {
    const entry = this.cohort.sheets[n];
    const row = document.createElement("li");
    const button = document.createElement("button");
    const swatches = document.createElement("span");
    swatches.className = "swatches";
    for (const code of Object.keys(entry.labels).filter(Boolean)) {
      const swatch = document.createElement("i");
      swatch.style.background = colorOf(this.cohort, code);
      swatch.title = code;
      swatches.append(swatch);
    }
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = entry.name;
    name.title = entry.name;
    const state = document.createElement("span");
    state.className = "state";
    const bar = document.createElement("span");
    bar.className = "bar";
    bar.append(document.createElement("i"));
    button.append(swatches, name, state, bar);
    button.addEventListener("click", () => {
      this.onOpen(n);
      document.getElementById("grid").focus();
    });
    row.append(button);
    return row;
  }

  paint(n) {
    const row = this.rows.get(n);
    if (!row) return;
    const entry = this.cohort.sheets[n];
    const done = entry.inUse > 0 && entry.decided >= entry.inUse;
    const state = row.querySelector(".state");
    row.classList.toggle("done", done);
    row.classList.toggle("failed", Boolean(entry.error));
    state.textContent = entry.error
      ? "cannot be read"
      : `${done ? "✓ " : ""}${count(entry.inUse, "tile")}${entry.rejected ? `, ${entry.rejected} rejected` : ""}`;
    row.querySelector(".bar i").style.width = `${entry.inUse ? (100 * entry.decided) / entry.inUse : 0}%`;
  }

  setOpen(number) {
    this.rows.get(this.open)?.querySelector("button").removeAttribute("aria-current");
    this.open = number;
    const row = this.rows.get(number);
    row?.querySelector("button").setAttribute("aria-current", "true");
    row?.scrollIntoView({ block: "nearest" });
  }

  /** The slide before (-1) or after (1) one in the list; null where there is none. */
  after(number, by) {
    return this.shown[this.shown.indexOf(number) + by] ?? null;
  }
}
