// The slide at a glance with the places of its tiles.

import { overviewPicture } from "./api.js";

const KEPT = "rgba(27, 31, 36, .4)";
const REJECTED = "rgba(192, 40, 24, .62)";
const REJECTED_LINE = "#8f1d10";
const DROPPED = "rgba(91, 99, 108, .5)";

export class SlideMap {
  constructor(root, { onPick }) {
    this.root = root;
    this.image = root.querySelector("#overview");
    this.outlines = root.querySelector("#outlines"); // drawn when other tiles are shown
    this.marks = root.querySelector("#marks"); // drawn with every decision
    this.here = root.querySelector("#here");
    this.slide = null;
    this.all = [];
    this.tiles = [];
    this.number = -1;
    this.asked = false;
    this.image.addEventListener("load", () => this.fit());
    this.root.addEventListener("click", (event) => this.clicked(event, onPick));
    new ResizeObserver(() => this.fit()).observe(root.parentElement);
  }

  /** `slide` is null where there is nothing to show. */
  show(n, slide) {
    if (slide && this.slide === slide) return;
    this.slide = slide;
    this.number = n;
    this.root.hidden = !slide;
    if (slide) this.image.src = overviewPicture(n);
    else this.image.removeAttribute("src");
    this.tiles = this.all.filter((tile) => tile.n === n);
    this.fit();
  }

  fit() {
    if (!this.slide) return;
    const [width, height] = this.slide.size;
    const edges = getComputedStyle(this.root.parentElement);
    const room = this.root.parentElement.clientWidth - parseFloat(edges.paddingLeft) - parseFloat(edges.paddingRight);
    const most = Math.max(160, Math.min(window.innerHeight * 0.36, 460));
    this.scale = Math.min(room / width, most / height);
    const shown = [Math.max(1, Math.round(width * this.scale)), Math.max(1, Math.round(height * this.scale))];
    this.root.style.width = `${shown[0]}px`;
    this.root.style.height = `${shown[1]}px`;
    const sharp = window.devicePixelRatio || 1;
    for (const canvas of [this.outlines, this.marks]) {
      canvas.width = shown[0] * sharp;
      canvas.height = shown[1] * sharp;
    }
    this.sharp = sharp;
    this.drawOutlines();
    this.draw();
  }

  /** The tiles that are shown; those of other slides are left out. */
  setTiles(tiles, current) {
    this.all = tiles;
    this.tiles = tiles.filter((tile) => tile.n === this.number);
    this.setCurrent(current);
    this.drawOutlines();
    this.draw();
  }

  /** Some verdicts have changed. */

  ask() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.draw();
    });
  }

  penOf(canvas) {
    const pen = canvas.getContext("2d");
    pen.setTransform(this.sharp, 0, 0, this.sharp, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    return pen;
  }

  drawOutlines() {
    if (!this.slide) return;
    const pen = this.penOf(this.outlines);
    const [outlines, dropped] = [new Path2D(), new Path2D()];
    for (const tile of this.tiles) {
      const box = this.boxOf(tile);
      if (tile.dropped) dropped.rect(...box);
      if (box[2] > 3) outlines.rect(...box);
    }
    pen.fillStyle = DROPPED;
    pen.fill(dropped);
    pen.lineWidth = 0.6;
    pen.strokeStyle = KEPT;
    pen.stroke(outlines);
  }

  draw() {
    if (!this.slide) return;
    const pen = this.penOf(this.marks);
    for (const tile of this.tiles) {
      if (tile.verdict !== "reject") continue;
      const box = this.boxOf(tile);
      pen.fillStyle = REJECTED;
      pen.fillRect(...box);
      this.cross(pen, box);
    }
    this.setCurrent(this.current);
  }

  /** A cross over a rejected tile, so that colour is not the only sign. */
  cross(pen, [left, top, width, height]) {
    if (width < 7) return;
    pen.strokeStyle = REJECTED_LINE;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(left, top);
    pen.lineTo(left + width, top + height);
    pen.moveTo(left + width, top);
    pen.lineTo(left, top + height);
    pen.stroke();
  }

  boxOf(tile) {
    return [tile.left * this.scale, tile.top * this.scale, tile.width * this.scale, tile.height * this.scale];
  }

  setCurrent(tile) {
    this.current = tile;
    this.here.hidden = !tile || !this.slide || tile.n !== this.number;
    if (this.here.hidden) return;
    const [left, top, width, height] = this.boxOf(tile);
    const side = Math.max(width, height, 8);
    this.here.style.transform = `translate(${left + width / 2 - side / 2}px, ${top + height / 2 - side / 2}px)`;
    this.here.style.width = `${side}px`;
    this.here.style.height = `${side}px`;
  }

  clicked(event, onPick) {
    if (!this.slide || !this.scale) return;
    const at = this.root.getBoundingClientRect();
    const x = (event.clientX - at.left) / this.scale;
    const y = (event.clientY - at.top) / this.scale;
    let best = null;
    let nearest = Infinity;
    for (const tile of this.tiles) {
      const across = Math.max(tile.left - x, 0, x - tile.left - tile.width);
      const down = Math.max(tile.top - y, 0, y - tile.top - tile.height);
      const far = across * across + down * down + tile.width * 1e-6;
      if (far < nearest) [nearest, best] = [far, tile];
    }
    if (best) onPick(best);
  }
}
