// The page: what is open, what is shown of it, and what each key does.

import { Alike } from "./alike.js";
import { Refused, Saver, get, setEdition } from "./api.js";
import { chip, offerScales, offerSorts, offerStates, pressSort } from "./controls.js";
import { Grid } from "./grid.js";
import { SlideMap } from "./map.js";
import { alarm, quiet, tellSaved, toast, untoast } from "./notices.js";
import { recall, remember } from "./seen.js";
import { ALL, SlideList, colorOf } from "./slides.js";
import { SORTS, STATES, count, described, showFacts, sorted, tilesOf } from "./tiles.js";
import { Zoom } from "./zoom.js";

const SHEETS_AT_ONCE = 50;
const CHIPS = 2;
const byId = (id) => document.getElementById(id);
const show = { sort: "position", direction: 1, state: "used", scale: "" };
let cohort = null;
let open = { numbers: [], sheets: new Map(), tiles: [], rows: new Map() };
let opening = 0;

const grid = new Grid(byId("grid"), {
  describe: (tile) => described(tile, show.sort),
  onCurrent: () => currentChanged(),
  onOpen: () => zoom.open(),
  onSeen: (tiles) => seen(tiles),
});
const map = new SlideMap(byId("map"), { onPick: (tile) => grid.moveTo(grid.items.indexOf(tile)) });
const alike = new Alike({ onOpen: untoast, onReject: rejectAlike, onError: (error) => alarm(error.message) });
const zoom = new Zoom(grid, { onSeen: (tiles) => seen(tiles), onKey: (event) => common(event) });
const list = new SlideList({
  onOpen: (number) => (number === ALL ? openView(list.shown) : openSheet(number)),
  onClass: () => classChanged(),
});
const saver = new Saver(tellSaved);

// ---- opening sheets: slides, or classes of ready-made tiles

async function start() {
  try {
    cohort = await get("/api/cohort");
  } catch (error) {
    alarm(error.message);
    return;
  }
  setEdition(cohort.edition);
  byId("reader").textContent = cohort.readOnly ? "Only shown: nothing is saved" : `Reader: ${cohort.reader}`;
  byId("phantom").hidden = !cohort.phantom;
  byId("help-file").textContent = `Decisions go to ${cohort.file}`;
  if (cohort.strangers) {
    byId("warning").textContent = ` ${count(cohort.strangers, "decision")} in the file ${cohort.strangers === 1 ? "is" : "are"} about tiles that this cohort does not have.`;
  }
  document.body.classList.toggle("read-only", cohort.readOnly);
  list.setCohort(cohort);
  byId("finish").textContent = `${list.Unit} finished`;
  const begun = list.shown.find((n) => cohort.sheets[n].decided < cohort.sheets[n].inUse);
  await openSheet(begun ?? list.shown[0] ?? 0);
  grid.element.focus();
}

const openSheet = (number) => openView([number]);

/** Tiles of one sheet, or of several together. */
async function openView(numbers, wanted = null) {
  const ticket = (opening += 1);
  const name = numbers.length > 1 ? list.nameOfAll : cohort.sheets[numbers[0]].name;
  byId("progress").textContent = `Opening ${name}`;
  const sheets = [];
  try {
    for (let from = 0; from < numbers.length; from += SHEETS_AT_ONCE) {
      sheets.push(...(await get(`/api/sheets?numbers=${numbers.slice(from, from + SHEETS_AT_ONCE)}`)));
    }
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (ticket === opening) alarm(error.message);
    return;
  }
  if (ticket !== opening) return;
  for (const sheet of sheets) {
    if (sheets.length > 1) sheet.error ??= cohort.sheets[sheet.number].error; // several are not opened at once
    cohort.sheets[sheet.number].error = sheet.error;
    if (sheet.error) list.paint(sheet.number);
  }
  const usable = sheets.filter((sheet) => sheet.columns && !sheet.error);
  open = {
    numbers,
    sheets: new Map(sheets.map((sheet) => [sheet.number, sheet])),
    tiles: usable.flatMap((sheet) => tilesOf(sheet.number, sheet)),
    rows: new Map(),
  };
  for (const tile of open.tiles) open.rows.set(`${tile.n}:${tile.row}`, tile);
  recall(open.tiles, seenTogether);
  byId("slide-name").textContent = name;
  list.setOpen(numbers.length > 1 ? ALL : numbers[0]);
  byId("slide-label").replaceChildren(...labelsOf(numbers).map((code) => chip(code, colorOf(cohort, code))));
  offerScales(open.tiles, show.scale);
  offerSorts(open.tiles, sheets);
  quiet();
  refresh(0, wanted && open.rows.get(wanted));
  const moved = usable.reduce((sum, sheet) => sum + sheet.moved, 0);
  if (moved) {
    alarm(`${count(moved, "decision")} here ${moved === 1 ? "was" : "were"} made when the tiles of that name lay elsewhere: the slide was cut anew since. Look again, or start a new file.`);
  } else if (numbers.length > 1 && usable.length < sheets.length) {
    alarm(`${count(sheets.length - usable.length, list.unit)} of these cannot be read; the list names them.`);
  }
}

/** Labels of the slides at hand; none where they are too many to stand beside the name. */
function labelsOf(numbers) {
  const labels = new Set(numbers.flatMap((number) => Object.keys(cohort.sheets[number].labels)).filter(Boolean));
  return labels.size > CHIPS ? [] : [...labels];
}

/** The map of the slide whose tile is the current one. */
function showMap() {
  const number = grid.item?.n ?? open.numbers[0];
  const slide = open.sheets.get(number);
  const there = slide.size && !slide.error;
  byId("no-map").hidden = Boolean(there);
  byId("no-map").textContent = slide.error ? "" : "Ready-made tiles: there is no slide to show them on.";
  byId("map-key").hidden = !there;
  map.show(number, there ? slide : null);
}

// ---- what is shown

/** The list anew: `position` is where the reader stands, or on the tile `wanted` where it is shown. */
function refresh(position = grid.current, wanted = null) {
  const scale = byId("scale").value;
  const label = list.label;
  const inScope = open.tiles.filter(
    (tile) => (!scale || String(tile.mpp) === scale) && (!label || (tile.label ?? "") === label),
  );
  const usable = document.querySelector(`[data-sort=${show.sort}]`).disabled ? "position" : show.sort;
  const items = sorted(inScope.filter(STATES[show.state]), usable, usable === show.sort ? show.direction : 1);
  const found = wanted ? items.indexOf(wanted) : -1;
  map.setTiles(items, null);
  grid.setItems(items, found >= 0 ? found : position);
  offerStates(inScope, show.state);
  pressSort(usable, usable === show.sort ? show.direction : 1);
  const nothing = byId("nothing");
  const problem = open.sheets.get(open.numbers[0])?.error;
  nothing.hidden = items.length > 0;
  nothing.classList.toggle("problem", Boolean(problem));
  nothing.textContent = problem
    ? `This ${list.unit} cannot be shown: ${problem}`
    : open.tiles.length
      ? "No tile of this kind here. Press S to show others."
      : `This ${list.unit} has no tiles.`;
  grid.element.hidden = items.length === 0;
  progress();
}

function currentChanged() {
  showMap();
  map.setCurrent(grid.item);
  showFacts(byId("facts"), grid.item);
  byId("like").disabled = cohort.readOnly || !grid.item || Boolean(grid.item.dropped);
  zoom.paint();
}

function progress() {
  const inUse = open.tiles.filter((tile) => !tile.dropped);
  const looked = inUse.filter((tile) => tile.seen || tile.verdict).length;
  const rejected = inUse.filter((tile) => tile.verdict === "reject").length;
  const place = list.shown.indexOf(open.numbers[0]);
  const slide =
    open.numbers.length > 1
      ? `${count(open.numbers.length, list.unit)} together`
      : `${list.Unit} ${place + 1} of ${list.shown.length}`;
  byId("progress").textContent = `${slide} · ${looked.toLocaleString("en")} of ${count(inUse.length, "tile")} seen · ${count(rejected, "rejected", "rejected")}`;
  byId("bar-seen").style.width = `${inUse.length ? (100 * looked) / inUse.length : 0}%`;
  const counts = new Map(open.numbers.map((number) => [number, [0, 0]]));
  for (const tile of inUse) {
    if (tile.verdict) counts.get(tile.n)[0] += 1;
    if (tile.verdict === "reject") counts.get(tile.n)[1] += 1;
  }
  for (const [number, [decided, out]] of counts) {
    const entry = cohort.sheets[number];
    if (entry.error || (entry.decided === decided && entry.rejected === out)) continue;
    [entry.decided, entry.rejected] = [decided, out];
    list.paint(number);
  }
}

const seenTogether = (tile) => `seen by ${cohort.reader} ${cohort.file} ${cohort.sheets[tile.n].name}`;

function seen(tiles) {
  const news = tiles.filter((tile) => !tile.seen && !tile.dropped);
  if (!news.length) return;
  for (const tile of news) tile.seen = true;
  progress();
  remember(news, seenTogether);
}

// ---- deciding

function decide(tiles, verdict, reason = "") {
  const changed = tiles.filter((tile) => !tile.dropped && tile.verdict !== verdict);
  if (!changed.length) return;
  for (const tile of changed) tile.verdict = verdict;
  afterChange();
  const body = { tiles: changed.map((tile) => [tile.n, tile.row]), verdict, reason };
  saver.save("/api/decisions", body).then(
    () => changed.forEach((tile) => (tile.saved = verdict)),
    () => {
      for (const tile of changed) tile.verdict = tile.saved; // nothing behind a loss was saved either
      afterChange();
    },
  );
}

/** Decisions have changed: tiles that are no longer shown go, the others are painted again. */
function afterChange() {
  if (show.state === "kept" || show.state === "rejected") {
    refresh(grid.current);
    return;
  }
  grid.repaint();
  map.ask();
  progress();
  currentChanged();
}

function toggle() {
  if (cohort.readOnly) return toast("This page only shows: it was started with --read-only.");
  const chosen = grid.chosen;
  const usable = chosen.filter((tile) => !tile.dropped);
  if (!usable.length) return chosen.length ? toast(`${described(chosen[0], "position").label}: quality has taken it out already.`) : undefined;
  decide(usable, usable.every((tile) => tile.verdict === "reject") ? "keep" : "reject");
}

function openAlike() {
  if (cohort.readOnly || !grid.item) return;
  if (grid.item.dropped) return toast("Choose a tile in use: this one is out already.");
  toast("Comparing tiles.");
  alike.open(grid.item, (n, row) => open.rows.get(`${n}:${row}`));
}

function rejectAlike(tiles, tile) {
  decide(tiles, "reject", `like ${tile.tile}`);
  toast(`${count(tiles.length, "tile")} rejected. U takes all of them back at once.`);
  grid.element.focus();
}

async function undo() {
  if (cohort.readOnly) return;
  let answer;
  try {
    answer = await saver.save("/api/undo", {});
  } catch {
    return; // the alarm has told it
  }
  if (!answer.changed.length) return toast("Nothing to undo.");
  const [number, row] = answer.changed[0];
  if (!open.numbers.includes(number)) await openView([number]);
  for (const [n, r, verdict] of answer.changed) {
    const tile = open.rows.get(`${n}:${r}`);
    if (tile) tile.verdict = tile.saved = verdict;
  }
  refresh(grid.current, open.rows.get(`${number}:${row}`) ?? null);
  toast(`Taken back: ${count(answer.changed.length, "decision")}.`);
}

async function finish() {
  if (cohort.readOnly) return;
  const name = byId("slide-name").textContent;
  const inUse = open.tiles.filter((tile) => !tile.dropped);
  const looked = inUse.filter((tile) => tile.seen && !tile.verdict);
  try {
    await saver.save("/api/finish", { seen: looked.map((tile) => [tile.n, tile.row]) });
  } catch {
    return; // the alarm has told it
  }
  for (const tile of looked) tile.saved = tile.verdict ??= "keep";
  progress();
  const unseen = inUse.filter((tile) => !tile.verdict).length;
  const kept = inUse.filter((tile) => tile.verdict === "keep").length;
  const rest = unseen ? ` ${count(unseen, "tile")} never on the screen, left undecided.` : "";
  const words = `${name}: ${kept} seen and kept, ${inUse.length - kept - unseen} rejected.${rest}`;
  const onward = step(1);
  if (!onward) afterChange();
  toast(onward ? words : `${words} That was the last ${list.unit}.`);
}

/** To the next or previous slide; whether there is one. */
function step(by) {
  const number = open.numbers.length > 1 ? null : list.after(open.numbers[0], by);
  if (number === null) return false;
  openSheet(number);
  return true;
}

// ---- keys and buttons

/** Keys that work in the grid and in the large view alike; whether it was one. */
function common(event) {
  const key = event.key.toLowerCase();
  if (event.key === " ") toggle();
  else if (key === "u" || (key === "z" && (event.ctrlKey || event.metaKey))) undo();
  else return false;
  event.preventDefault();
  return true;
}

const cycle = (select, by = 1) => {
  select.selectedIndex = (select.selectedIndex + by + select.options.length) % select.options.length;
  select.dispatchEvent(new Event("change"));
};

const KEYS = {
  1: () => sortBy("position"),
  2: () => sortBy("nuclei"),
  3: () => sortBy("sharpness"),
  4: () => sortBy("disagreement"),
  a: openAlike,
  f: finish,
  n: () => step(1) || toast(`That was the last ${list.unit}.`),
  p: () => step(-1) || toast(`This is the first ${list.unit}.`),
  s: () => cycle(byId("state")),
  c: () => cycle(byId("class")),
  "+": () => resize(32),
  "=": () => resize(32),
  "-": () => resize(-32),
  "?": () => byId("help").showModal(),
  enter: () => zoom.open(),
  escape: () => grid.clearSelection(),
};

document.addEventListener("keydown", (event) => {
  if (!cohort || event.altKey || document.querySelector("dialog[open]")) return;
  const inField = event.target.closest("select, input");
  if (inField && event.key !== "Escape") return;
  if (event.target.closest("button") && [" ", "Enter"].includes(event.key)) return;
  if (grid.key(event) || common(event)) return;
  const act = event.ctrlKey || event.metaKey ? null : KEYS[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
});

function sortBy(name) {
  const button = document.querySelector(`[data-sort=${name}]`);
  if (button.disabled) return toast(`Cannot sort so: ${button.title}.`);
  show.direction = show.sort === name ? -show.direction : SORTS[name].first;
  show.sort = name;
  refresh(0);
}

function resize(by) {
  const slider = byId("side");
  slider.value = String(Number(slider.value) + by);
  grid.setSide(Number(slider.value));
}

function classChanged() {
  if (open.numbers.length > 1) openView(list.shown);
  else if (!list.shown.includes(open.numbers[0]) && list.shown.length) openSheet(list.shown[0]);
  else refresh(0);
}

const pressed = (id, act) =>
  byId(id).addEventListener("click", () => {
    act();
    if (!document.querySelector("dialog[open]")) grid.element.focus();
  });
for (const button of document.querySelectorAll("[data-sort]")) {
  button.addEventListener("click", () => {
    sortBy(button.dataset.sort);
    grid.element.focus();
  });
}
pressed("previous", KEYS.p);
pressed("next", KEYS.n);
pressed("finish", finish);
pressed("undo", undo);
pressed("like", openAlike);
pressed("help-open", KEYS["?"]);
byId("help-close").addEventListener("click", () => byId("help").close());
byId("side").addEventListener("input", () => resize(0));
for (const id of ["state", "scale"]) {
  byId(id).addEventListener("change", () => {
    show[id] = byId(id).value;
    refresh(0);
    grid.element.focus();
  });
}
for (const id of ["zoom", "alike", "help"]) {
  byId(id).addEventListener("close", () => grid.element.focus());
}
window.addEventListener("beforeunload", (event) => {
  if (saver.pending) event.preventDefault();
});

start();
