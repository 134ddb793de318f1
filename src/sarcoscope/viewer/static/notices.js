// What the page tells: messages that pass, alarms that stay, whether all is saved.

const TOAST_MS = 5000;
const byId = (id) => document.getElementById(id);

let toastTimer = 0;
let aboutSaving = false;

export function toast(words) {
  const box = byId("toast");
  box.textContent = words;
  box.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(untoast, TOAST_MS);
}

export function untoast() {
  byId("toast").hidden = true;
}

export function alarm(words) {
  const box = byId("alert");
  box.textContent = words;
  box.hidden = false;
  aboutSaving = false;
}

export function quiet() {
  byId("alert").hidden = true;
}

/** `pending` decisions are under way; `lost` whether one since the last quiet moment was not saved, and `error` why. */
export function tellSaved(pending, lost, error) {
  const box = byId("saved");
  if (error) {
    alarm(`Not saved: ${error.message}`);
    aboutSaving = true;
  } else if (!pending && !lost && aboutSaving) {
    quiet();
  }
  box.textContent = pending ? "Saving" : lost ? "Last decision not saved" : "All decisions saved";
  box.dataset.state = pending ? "saving" : lost ? "lost" : "saved";
}
