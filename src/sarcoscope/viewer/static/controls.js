// What can be chosen for the tiles at hand, and why something cannot.

import { STATES } from "./tiles.js";

/** A class with its colour. */
export function chip(code, color) {
  const part = document.createElement("span");
  part.className = "chip";
  const swatch = document.createElement("i");
  swatch.style.background = color;
  part.append(swatch, code);
  return part;
}

/** The scales there are; `chosen` where it is one of them, else all. */
export function offerScales(tiles, chosen) {
  const scales = [...new Set(tiles.map((tile) => tile.mpp))].filter((mpp) => mpp !== null).map(String);
  const select = document.getElementById("scale");
  document.getElementById("scale-label").hidden = scales.length < 2;
  select.replaceChildren(new Option("all", ""), ...scales.map((mpp) => new Option(`${mpp} µm/px`, mpp)));
  select.value = scales.length > 1 && scales.includes(chosen) ? chosen : "";
}

/** Orders that have nothing to go by are greyed out, with the reason. */
export function offerSorts(tiles, sheets) {
  const without = sheets.every((sheet) => sheet.noDisagreement) ? sheets[0].noDisagreement : null;
  const reasons = {
    nuclei: "not measured for these tiles",
    sharpness: "not measured for these tiles",
    disagreement: without ?? "not predicted for these tiles",
  };
  for (const [name, reason] of Object.entries(reasons)) {
    const button = document.querySelector(`[data-sort=${name}]`);
    button.disabled = !tiles.some((tile) => tile[name] !== null);
    button.title = button.disabled ? reason : "";
  }
  const doubt = document.querySelector("[data-sort=disagreement]");
  if (!doubt.disabled) doubt.title = "1 - probability of the tile's own label";
}

/** How many tiles each state would show. */
export function offerStates(tiles, chosen) {
  const select = document.getElementById("state");
  for (const option of select.options) {
    const words = option.textContent.replace(/ \([\d,]+\)$/, "");
    option.textContent = `${words} (${tiles.filter(STATES[option.value]).length.toLocaleString("en")})`;
  }
  select.value = chosen;
}

/** The order that holds, and its direction: 1 is ascending. */
export function pressSort(name, direction) {
  for (const button of document.querySelectorAll("[data-sort]")) {
    const on = button.dataset.sort === name;
    button.setAttribute("aria-pressed", String(on));
    button.dataset.direction = on ? (direction > 0 ? "up" : "down") : "";
  }
}
