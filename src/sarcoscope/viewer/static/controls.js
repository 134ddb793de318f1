// What can be chosen for the tiles at hand, and why something cannot.

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
