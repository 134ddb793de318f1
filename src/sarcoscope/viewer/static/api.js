// Talking to the server: reading at any time, writing one after the other.

export class Refused extends Error {}

async function answerOf(response) {
  if (response.ok) return response.json();
  if (response.status === 403) throw new Refused("this page is of an earlier start of sarcoscope screen; open the address that it printed");
  let words = `the server answered ${response.status}`;
  try {
    words = (await response.json()).error || words;
  } catch {
    // no JSON: the status says it
  }
  throw new Refused(words);
}

export async function get(path) {
  let response;
  try {
    response = await fetch(path);
  } catch {
    throw new Refused("the server does not answer; is sarcoscope screen still running?");
  }
  return answerOf(response);
}

async function post(path, body) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Refused("the server does not answer; is sarcoscope screen still running?");
  }
  return answerOf(response);
}

/**
 * Writes in the order in which they were asked for; `onState` hears how many are not yet on the disk, or were lost.
 * What waits behind a lost one is not tried: an undo would take back something else.
 */
export class Saver {
  constructor(onState) {
    this.onState = onState;
    this.pending = 0;
    this.lost = false;
    this.chain = Promise.resolve();
  }

  save(path, body) {
    if (!this.pending) this.lost = false;
    this.pending += 1;
    this.onState(this.pending, this.lost, null);
    const done = this.chain.then(() => {
      if (this.lost) throw new Refused("it came behind a decision that was lost, and was not tried");
      return post(path, body);
    });
    this.chain = done.then(
      () => this.settle(null),
      (error) => this.settle(error),
    );
    return done;
  }

  settle(error) {
    this.pending -= 1;
    this.lost ||= Boolean(error);
    this.onState(this.pending, this.lost, error);
  }
}

let edition = "";

/** Pictures kept by the browser from another start of the server are of other tiles. */
export const setEdition = (word) => (edition = word);

export const smallPicture = (tile) => `/api/sheets/${tile.n}/tiles/${tile.row}/small.jpg?${edition}`;
export const largePicture = (tile) => `/api/sheets/${tile.n}/tiles/${tile.row}/large.jpg?${edition}`;
export const overviewPicture = (n) => `/api/sheets/${n}/overview.jpg?${edition}`;
