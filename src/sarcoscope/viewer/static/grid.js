// A grid of tiles of which only the rows on the screen, and a few beside them, are in the document.

import { smallPicture } from "./api.js";

const GAP = 8;
const CAPTION = 22;
const ROWS_BESIDE = 2;
const PICTURES_AT_ONCE = 6;
const PICTURES_IN_PASSING = 2;
const PASSING_SCREENS_PER_S = 3;
const STILL_MS = 250;
const STATES = ["current", "selected", "rejected", "goes", "dropped", "broken"];

class Cell {
  constructor(id) {
    this.element = document.createElement("div");
    this.element.className = "cell";
    this.element.id = id;
    this.element.setAttribute("role", "option");
    this.image = document.createElement("img");
    this.image.alt = "";
    this.image.draggable = false;
    this.image.decoding = "async";
    this.mark = document.createElement("span");
    this.mark.className = "mark";
    this.caption = document.createElement("span");
    this.caption.className = "caption";
    this.element.append(this.image, this.mark, this.caption);
    this.item = null;
    this.position = -1;
    this.loaded = false;
    this.loading = false;
    this.broken = false;
    this.classes = "";
  }

  /** Classes beside `cell`, written only where they change. */
  setClasses(words) {
    const classes = `cell${words}`;
    if (classes !== this.classes) this.element.className = this.classes = classes;
  }
}

export class Grid {
  /**
   * `describe(item)` gives {rejected, goes, dropped, mark, caption, label}; `onCurrent`, `onOpen`, `onSeen` are told of what
   * the reader does. Positions are places in the list of items, from 0.
   */
  constructor(element, { describe, onCurrent = () => {}, onOpen = () => {}, onSeen = () => {}, onClick = null }) {
    this.element = element;
    this.describe = describe;
    this.onCurrent = onCurrent;
    this.onOpen = onOpen;
    this.onSeen = onSeen;
    this.onClick = onClick;
    this.space = document.createElement("div");
    this.space.className = "space";
    this.space.setAttribute("role", "presentation");
    element.replaceChildren(this.space);
    this.items = [];
    this.current = -1;
    this.anchor = -1;
    this.selected = new Set();
    this.side = 160;
    this.cells = new Map();
    this.free = [];
    this.made = 0;
    this.inFlight = 0;
    this.asked = false;
    this.stillTimer = 0;
    this.top = 0;
    this.height = 0;
    this.passing = false;
    this.before = { top: 0, at: 0 };
    element.addEventListener("scroll", () => this.ask(), { passive: true });
    element.addEventListener("mousedown", (event) => this.clicked(event));
    element.addEventListener("dblclick", (event) => this.cellAt(event) && this.onOpen());
    new ResizeObserver(() => this.layout()).observe(element);
  }

  // ---- what is shown

  setItems(items, current) {
    this.items = items;
    this.selected.clear();
    for (const cell of [...this.cells.values()]) this.release(cell);
    this.current = items.length ? Math.min(Math.max(current, 0), items.length - 1) : -1;
    this.anchor = this.current;
    this.layout();
    this.reveal(this.current);
    this.onCurrent();
  }

  get item() {
    return this.items[this.current] ?? null;
  }

  /** What a decision is about: the selection, else the current tile. */
  get chosen() {
    if (this.selected.size) return this.items.filter((item) => this.selected.has(item));
    return this.item ? [this.item] : [];
  }

  setSide(side) {
    this.side = side;
    for (const cell of [...this.cells.values()]) this.release(cell);
    this.layout();
    this.reveal(this.current);
  }

  layout() {
    const width = this.element.clientWidth - GAP;
    if (width <= 0) return;
    this.columns = Math.max(1, Math.floor(width / (this.side + GAP)));
    this.rowHeight = this.side + CAPTION + GAP;
    this.left = GAP + Math.floor((width - this.columns * (this.side + GAP)) / 2);
    this.height = this.element.clientHeight;
    this.space.style.height = `${Math.ceil(this.items.length / this.columns) * this.rowHeight + GAP}px`;
    this.element.style.setProperty("--side", `${this.side}px`);
    for (const cell of this.cells.values()) this.place(cell);
    this.render();
  }

  ask() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.measureSpeed();
      this.render();
    });
  }

  /** Whether the tiles fly past: then their pictures wait for those that stay. */
  measureSpeed() {
    const [top, at] = [this.element.scrollTop, performance.now()];
    const screens = Math.abs(top - this.before.top) / this.height / ((at - this.before.at) / 1000);
    this.passing = screens > PASSING_SCREENS_PER_S && at - this.before.at < STILL_MS;
    this.before = { top, at };
  }

  /** By what was measured last: asking the browser anew in the midst of changes makes it lay out the page anew. */
  rowsShown() {
    const first = Math.floor((this.top - GAP) / this.rowHeight);
    const last = Math.floor((this.top + this.height - GAP) / this.rowHeight);
    return [first, last];
  }

  render() {
    if (!this.columns) return;
    this.top = this.element.scrollTop;
    const [first, last] = this.rowsShown();
    const from = Math.max(0, (first - ROWS_BESIDE) * this.columns);
    const to = Math.min(this.items.length, (last + ROWS_BESIDE + 1) * this.columns);
    for (const [position, cell] of this.cells) {
      if (position < from || position >= to) this.release(cell);
    }
    for (let position = from; position < to; position += 1) {
      if (!this.cells.has(position)) this.take(position);
    }
    this.load();
    this.waitForStill();
  }

  waitForStill() {
    clearTimeout(this.stillTimer);
    this.stillTimer = setTimeout(() => this.still(), STILL_MS);
  }

  take(position) {
    let cell = this.free.pop();
    if (!cell) {
      cell = new Cell(`${this.element.id}-${this.made}`);
      this.made += 1;
      cell.image.addEventListener("load", () => this.settled(cell, true));
      cell.image.addEventListener("error", () => this.settled(cell, false));
      this.space.append(cell.element);
    }
    cell.item = this.items[position];
    cell.position = position;
    cell.loaded = false;
    cell.broken = false;
    cell.image.className = "";
    cell.element.hidden = false;
    this.cells.set(position, cell);
    this.place(cell);
    this.paint(cell);
  }

  release(cell) {
    this.cells.delete(cell.position);
    cell.element.hidden = true;
    delete cell.element.dataset.tile;
    cell.item = null;
    if (cell.loading) {
      cell.loading = false;
      this.inFlight -= 1;
    }
    if (!cell.loaded) cell.image.removeAttribute("src");
    this.free.push(cell);
  }

  place(cell) {
    const row = Math.floor(cell.position / this.columns);
    const column = cell.position % this.columns;
    const left = this.left + column * (this.side + GAP);
    cell.element.style.transform = `translate(${left}px, ${GAP + row * this.rowHeight}px)`;
  }

  paint(cell) {
    const about = this.describe(cell.item);
    const current = cell.position === this.current;
    const selected = this.selected.has(cell.item);
    const words = { ...about, current, selected, broken: cell.broken };
    cell.setClasses(STATES.map((name) => (words[name] ? ` ${name}` : "")).join(""));
    cell.mark.textContent = cell.broken ? "cannot be read" : about.mark;
    cell.caption.textContent = about.caption;
    cell.element.setAttribute("aria-label", about.label);
    cell.element.setAttribute("aria-selected", String(selected || current));
    cell.element.dataset.tile = cell.item.tile;
    if (current) this.element.setAttribute("aria-activedescendant", cell.element.id);
  }

  repaint() {
    for (const cell of this.cells.values()) this.paint(cell);
  }

  // ---- pictures: those on the screen first, a few at once, none for what has been scrolled past

  load() {
    const room = (this.passing ? PICTURES_IN_PASSING : PICTURES_AT_ONCE) - this.inFlight;
    if (room <= 0) return;
    const [first, last] = this.rowsShown();
    const waiting = [];
    for (const cell of this.cells.values()) {
      if (cell.loaded || cell.loading || cell.broken) continue;
      const row = Math.floor(cell.position / this.columns);
      waiting.push([row < first ? first - row + 1000 : row > last ? row - last + 1000 : row - first, cell]);
    }
    waiting.sort((a, b) => a[0] - b[0] || a[1].position - b[1].position);
    for (const [, cell] of waiting.slice(0, room)) {
      cell.loading = true;
      this.inFlight += 1;
      cell.image.src = smallPicture(cell.item);
    }
  }

  settled(cell, well) {
    if (!cell.loading) return;
    cell.loading = false;
    this.inFlight -= 1;
    cell.loaded = well;
    cell.broken = !well;
    if (well) cell.image.className = "there";
    else this.paint(cell);
    this.load();
    this.waitForStill();
  }

  /** The screen has stood still: what is on it, picture and all, has been seen. */
  still() {
    if (!this.columns || document.hidden) return;
    this.passing = false;
    this.load();
    const top = this.element.scrollTop;
    const bottom = top + this.element.clientHeight;
    const seen = [];
    for (const cell of this.cells.values()) {
      const middle = GAP + Math.floor(cell.position / this.columns) * this.rowHeight + this.side / 2;
      if (cell.loaded && middle > top && middle < bottom) seen.push(cell.item);
    }
    if (seen.length) this.onSeen(seen);
  }

  // ---- moving about

  moveTo(position, extend = false) {
    if (!this.items.length) return;
    this.current = Math.min(Math.max(position, 0), this.items.length - 1);
    if (extend) {
      this.selectRange();
    } else {
      this.anchor = this.current;
      this.selected.clear();
    }
    this.reveal(this.current);
    this.repaint();
    this.onCurrent();
  }

  selectRange() {
    const [from, to] = [Math.min(this.anchor, this.current), Math.max(this.anchor, this.current)];
    this.selected = new Set(this.items.slice(from, to + 1));
  }

  clearSelection() {
    this.selected.clear();
    this.anchor = this.current;
    this.repaint();
  }

  reveal(position) {
    if (position < 0 || !this.columns) return;
    const top = Math.floor(position / this.columns) * this.rowHeight;
    const bottom = top + this.rowHeight + GAP;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (bottom > this.element.scrollTop + this.element.clientHeight) {
      this.element.scrollTop = bottom - this.element.clientHeight;
    }
    this.render();
  }

  /** Whether the key was one for moving. */
  key(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.rowHeight)) * this.columns;
    const steps = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -this.columns,
      ArrowDown: this.columns,
      PageUp: -page,
      PageDown: page,
      Home: -this.items.length,
      End: this.items.length,
    };
    if (!(event.key in steps)) return false;
    const target = this.current + steps[event.key];
    const outside = target < 0 || target >= this.items.length;
    const stays = outside && ["ArrowUp", "ArrowDown"].includes(event.key) && !this.hasRow(target);
    if (!stays) this.moveTo(target, event.shiftKey);
    event.preventDefault();
    return true;
  }

  /** Whether there is a row, if a short one, at a position that may lie behind the last tile. */
  hasRow(position) {
    return position >= 0 && Math.floor(position / this.columns) <= Math.floor((this.items.length - 1) / this.columns);
  }

  cellAt(event) {
    const element = event.target.closest(".cell");
    if (!element) return null;
    for (const cell of this.cells.values()) if (cell.element === element) return cell;
    return null;
  }

  clicked(event) {
    const cell = this.cellAt(event);
    if (!cell || event.button !== 0) return;
    event.preventDefault();
    this.element.focus({ preventScroll: true });
    if (this.onClick) {
      this.moveTo(cell.position);
      this.onClick(cell.item);
    } else if (event.ctrlKey || event.metaKey) {
      if (!this.selected.size && this.item) this.selected.add(this.item);
      if (!this.selected.delete(cell.item)) this.selected.add(cell.item);
      this.current = cell.position;
      this.anchor = cell.position;
      this.repaint();
      this.onCurrent();
    } else {
      this.moveTo(cell.position, event.shiftKey);
    }
  }
}
