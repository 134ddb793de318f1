// What was on the screen: it outlives a reload of the page, and goes to the file when the slide is finished.

const name = (tile) => `${tile.slide} ${tile.tile} ${tile.left} ${tile.top} ${tile.width}`;

/** `sheetOf(tile)` names what is kept together. */
export function remember(tiles, sheetOf) {
  try {
    for (const [key, some] of Map.groupBy(tiles, sheetOf)) {
      const before = JSON.parse(sessionStorage.getItem(key) ?? "[]");
      sessionStorage.setItem(key, JSON.stringify([...before, ...some.map(name)]));
    }
  } catch {
    // storage is full or switched off: a reload then asks for another look
  }
}

export function recall(tiles, sheetOf) {
  try {
    for (const [key, some] of Map.groupBy(tiles, sheetOf)) {
      const before = new Set(JSON.parse(sessionStorage.getItem(key) ?? "[]"));
      for (const tile of some) tile.seen = before.has(name(tile));
    }
  } catch {
    // nothing was kept
  }
}
