// "Reject all like this": which tiles would go, before they do.

import { get, smallPicture } from "./api.js";
import { Grid } from "./grid.js";
import { count, described } from "./tiles.js";

export class Alike {
  constructor({ onReject, onError }) {
    this.dialog = document.getElementById("alike");
    this.cut = document.getElementById("alike-cut");
    this.words = document.getElementById("alike-count");
    this.yes = document.getElementById("alike-yes");
    this.image = document.getElementById("alike-image");
    this.onReject = onReject;
    this.onError = onError;
    this.left = new Set();
    this.grid = new Grid(document.getElementById("alike-grid"), {
      describe: (tile) => this.describe(tile),
      onClick: (tile) => this.toggle(tile),
    });
    this.grid.side = 128;
    this.cut.addEventListener("input", () => this.refresh());
    this.yes.addEventListener("click", () => this.confirm());
    document.getElementById("alike-no").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => this.grid.setItems([], 0));
    this.dialog.addEventListener("keydown", (event) => this.key(event));
  }

  /** `byRow` finds a tile of the slide by its row; tiles that are rejected already are left out. */
  async open(tile, byRow) {
    let answer;
    try {
      answer = await get(`/api/sheets/${tile.n}/like/${tile.row}`);
    } catch (error) {
      this.onError(error);
      return;
    }
    this.tile = tile;
    this.left.clear();
    this.peers = answer.rows
      .map((row, i) => [byRow(tile.n, row), answer.distances[i]])
      .filter(([peer]) => peer && peer.verdict !== "reject");
    this.image.src = smallPicture(tile);
    this.dialog.showModal();
    this.refresh();
    this.cut.focus();
  }

  refresh() {
    const cut = Number(this.cut.value);
    this.found = this.peers.filter(([, far]) => far <= cut).map(([tile]) => tile);
    this.grid.setItems(this.found, 0);
    this.say();
  }

  get chosen() {
    return this.found.filter((tile) => !this.left.has(tile));
  }

  say() {
    const out = this.found.length - this.chosen.length;
    const left = out ? `, ${out} left out` : "";
    this.words.textContent = `${count(this.chosen.length, "tile")} of ${this.peers.length.toLocaleString("en")} would be rejected${left}.`;
    const key = document.createElement("kbd");
    key.textContent = "Enter";
    this.yes.replaceChildren(`Reject ${count(this.chosen.length, "tile")} `, key);
    this.yes.disabled = !this.chosen.length;
  }

  describe(tile) {
    const out = this.left.has(tile);
    const about = described(tile, "position");
    return { ...about, rejected: false, dropped: out, mark: out ? "left out" : "", label: `${tile.tile}${out ? ", left out" : ""}` };
  }

  toggle(tile) {
    if (!this.left.delete(tile)) this.left.add(tile);
    this.say();
  }

  confirm() {
    if (!this.chosen.length) return;
    this.dialog.close();
    this.onReject(this.chosen, this.tile);
  }

  key(event) {
    event.stopPropagation();
    if (event.key === "Enter" && event.target.id !== "alike-no") {
      event.preventDefault();
      this.confirm();
    } else if (event.key === " " && event.target.classList.contains("grid") && this.grid.item) {
      event.preventDefault();
      this.toggle(this.grid.item);
      this.grid.repaint();
    } else if (event.target.classList.contains("grid")) {
      this.grid.key(event);
    }
  }
}
