// Tiles as the page holds them: from the server's columns, filtered, sorted, put in words.

export function tilesOf(n, sheet) {
  const columns = sheet.columns;
  return columns.tile.map((tile, row) => ({
    n,
    row,
    tile,
    slide: columns.slide[row],
    label: columns.label[row],
    mpp: columns.mpp[row],
    left: columns.left_l0[row],
    top: columns.top_l0[row],
    width: columns.width_l0[row],
    height: columns.height_l0[row],
    tissue: columns.tissue[row],
    nuclei: columns.nuclei[row],
    sharpness: columns.sharpness[row],
    disagreement: columns.disagreement[row],
    dropped: columns.dropped[row],
    verdict: columns.verdict[row],
    saved: columns.verdict[row], // what is on the disk; `verdict` runs ahead of it
    seen: false,
  }));
}

export const SORTS = {
  position: { first: 1, value: null },
  nuclei: { first: 1, value: (tile) => tile.nuclei },
  sharpness: { first: 1, value: (tile) => tile.sharpness },
  disagreement: { first: -1, value: (tile) => tile.disagreement },
};

/** A new list, tiles without the value last whichever way it goes; `direction` 1 is ascending. */
export function sorted(tiles, name, direction) {
  const value = SORTS[name].value;
  if (!value) return direction > 0 ? [...tiles] : [...tiles].reverse();
  return [...tiles].sort((a, b) => {
    const [one, other] = [value(a), value(b)];
    if (one === null || other === null) return (one === null) - (other === null) || a.row - b.row;
    return direction * (one - other) || a.row - b.row;
  });
}

export const STATES = {
  used: (tile) => !tile.dropped,
  kept: (tile) => !tile.dropped && tile.verdict !== "reject",
  rejected: (tile) => tile.verdict === "reject",
  dropped: (tile) => Boolean(tile.dropped),
  all: () => true,
};

export const REASONS = {
  blank: "glass",
  little_tissue: "little tissue",
  pen: "pen",
  blurred: "blurred",
  fold: "fold",
  out_of_focus: "out of focus",
  not_selected: "not selected",
};

export const reasonOf = (tile) => REASONS[tile.dropped] || String(tile.dropped).replaceAll("_", " ");

const round = (value, digits) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

export const count = (number, one, many = `${one}s`) => `${round(number, 0)} ${number === 1 ? one : many}`;

function valueOf(tile, sort) {
  if (sort === "nuclei") return tile.nuclei === null ? "not measured" : `${round(tile.nuclei, 0)} /mm²`;
  if (sort === "sharpness") return tile.sharpness === null ? "not measured" : round(tile.sharpness, 0);
  if (sort === "disagreement") {
    return tile.disagreement === null ? "not predicted" : `${round(100 * tile.disagreement, 0)} % doubt`;
  }
  return null;
}

const fileName = (tile) => tile.tile.slice(tile.tile.lastIndexOf("/") + 1);

/** What a cell of the grid shows. */
export function described(tile, sort) {
  const rejected = tile.verdict === "reject";
  const mark = tile.dropped ? reasonOf(tile) : rejected ? "rejected" : "";
  const caption = valueOf(tile, sort) ?? fileName(tile);
  const state = tile.dropped ? `dropped: ${reasonOf(tile)}` : rejected ? "rejected" : "in use";
  return { rejected, dropped: Boolean(tile.dropped), mark, caption, label: `${tile.tile}, ${state}, ${caption}` };
}

/** Names and values about a tile, for people. */
export function factsOf(tile) {
  const measured = (value, words) => (value === null ? "not measured" : words(value));
  return [
    ["Slide", tile.slide],
    ["Tile", fileName(tile)],
    ["State", tile.dropped ? `dropped: ${reasonOf(tile)}` : tile.verdict === "reject" ? "rejected" : tile.verdict === "keep" ? "kept" : "undecided"],
    ["Label", tile.label ?? "none"],
    ["Scale", tile.mpp === null ? "unknown" : `${tile.mpp} µm/px`],
    ["Nuclei", measured(tile.nuclei, (value) => `${round(value, 0)} per mm²`)],
    ["Sharpness", measured(tile.sharpness, (value) => round(value, 0))],
    ["Tissue", measured(tile.tissue, (value) => `${round(100 * value, 0)} %`)],
    ["Model disagrees", tile.disagreement === null ? "not predicted" : `${round(100 * tile.disagreement, 0)} %`],
  ];
}

export function showFacts(list, tile) {
  const parts = [];
  for (const [name, value] of tile ? factsOf(tile) : []) {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    text.textContent = value;
    text.title = value;
    parts.push(term, text);
  }
  list.replaceChildren(...parts);
}
