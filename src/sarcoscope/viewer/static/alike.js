// "Reject all like this": the tiles of the slide, the most alike first, and which of them would go.

import { get, smallPicture } from "./api.js";
import { Grid } from "./grid.js";
import { count, described } from "./tiles.js";

const START = 0.4;
const AT_LEAST = 6;
const START_MOST = 1.2;

export class Alike {
  constructor({ onOpen, onReject, onError }) {
    this.onOpen = onOpen;
    this.dialog = document.getElementById("alike");
    this.cut = document.getElementById("alike-cut");
    this.words = document.getElementById("alike-count");
    this.yes = document.getElementById("alike-yes");
    this.image = document.getElementById("alike-image");
    this.onReject = onReject;
    this.onError = onError;
    this.peers = [];
    this.distances = new Map();
    this.turned = new Set(); // tiles that the reader moved to the other side of the cut
    this.grid = new Grid(document.getElementById("alike-grid"), {
      describe: (tile) => this.describe(tile),
      onClick: (tile) => this.turn(tile),
    });
    this.grid.side = 128;
    this.cut.addEventListener("input", () => this.refresh());
    this.yes.addEventListener("click", () => this.confirm());
    document.getElementById("alike-no").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => this.grid.setItems([], 0));
    this.dialog.addEventListener("keydown", (event) => this.key(event));
  }

  /** `byRow` finds a tile of the sheet by its row; tiles that are rejected already are left out. */
  async open(tile, byRow) {
    let answer;
    try {
      answer = await get(`/api/sheets/${tile.n}/like/${tile.row}`);
    } catch (error) {
      this.onError(error);
      return;
    } finally {
      this.onOpen();
    }
    if (this.dialog.open || !byRow(tile.n, tile.row)) return;
    this.tile = tile;
    this.turned.clear();
    const found = answer.rows.map((row, i) => [byRow(tile.n, row), answer.distances[i]]);
    const peers = found.filter(([peer]) => peer && peer.verdict !== "reject");
    this.peers = peers.map(([peer]) => peer);
    this.distances = new Map(peers);
    const some = peers[Math.min(AT_LEAST, peers.length) - 1]?.[1] ?? 0;
    this.cut.value = String(Math.min(START_MOST, Math.max(START, Math.ceil(some * 20) / 20)));
    this.image.src = smallPicture(tile);
    this.dialog.showModal();
    this.grid.setItems(this.peers, 0);
    this.refresh();
    this.cut.focus();
  }

  goes(tile) {
    return this.distances.get(tile) <= Number(this.cut.value) !== this.turned.has(tile);
  }

  get chosen() {
    return this.peers.filter((tile) => this.goes(tile));
  }

  refresh() {
    const chosen = this.chosen.length;
    this.words.textContent = `${count(chosen, "tile")} of ${this.peers.length.toLocaleString("en")} would be rejected.`;
    const key = document.createElement("kbd");
    key.textContent = "Enter";
    this.yes.replaceChildren(`Reject ${count(chosen, "tile")} `, key);
    this.yes.disabled = !chosen;
    this.grid.repaint();
  }

  describe(tile) {
    const about = described(tile, "position");
    const goes = this.goes(tile);
    const words = goes ? "would be rejected" : "stays";
    return { ...about, rejected: false, goes, dropped: !goes, mark: goes ? "goes" : "", label: `${tile.tile}, ${words}` };
  }

  turn(tile) {
    if (!this.turned.delete(tile)) this.turned.add(tile);
    this.refresh();
  }

  confirm() {
    const chosen = this.chosen;
    if (!chosen.length) return;
    this.dialog.close();
    this.onReject(chosen, this.tile);
  }

  key(event) {
    event.stopPropagation();
    const inGrid = event.target.classList.contains("grid");
    if (event.key === "Enter" && event.target.id !== "alike-no") {
      event.preventDefault();
      this.confirm();
    } else if (event.key === " " && inGrid && this.grid.item) {
      event.preventDefault();
      this.turn(this.grid.item);
    } else if (inGrid) {
      this.grid.key(event);
    }
  }
}
