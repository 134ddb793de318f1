// One tile, large.

import { largePicture } from "./api.js";
import { described, showFacts } from "./tiles.js";

export class Zoom {
  /** Shows the grid's current tile; `onKey` gets the keys that are not for moving. */
  constructor(grid, { onSeen, onKey }) {
    this.grid = grid;
    this.dialog = document.getElementById("zoom");
    this.image = document.getElementById("zoom-image");
    this.mark = document.getElementById("zoom-mark");
    this.facts = document.getElementById("zoom-facts");
    this.image.addEventListener("load", () => this.dialog.open && grid.item && onSeen([grid.item]));
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter") {
        event.preventDefault();
        this.dialog.close();
      } else if (!grid.key(event)) {
        onKey(event);
      }
    });
  }

  open() {
    if (!this.grid.item) return;
    this.dialog.showModal();
    this.paint();
  }

  /** Anew where it is open. */
  paint() {
    if (!this.dialog.open) return;
    const tile = this.grid.item;
    if (!tile) {
      this.dialog.close();
      return;
    }
    const source = largePicture(tile);
    if (this.image.getAttribute("src") !== source) this.image.src = source;
    const about = described(tile, "position");
    this.image.alt = about.label;
    this.dialog.classList.toggle("rejected", about.rejected);
    this.mark.hidden = !about.mark;
    this.mark.textContent = about.mark;
    showFacts(this.facts, tile);
    for (const step of [1, -1]) {
      const next = this.grid.items[this.grid.current + step];
      if (next) new Image().src = largePicture(next);
    }
  }
}
