// What the service last said of the life and of its inbox, and who wants to know when that changes.

import { request } from "./api.js";

/** Largest requests, where GET /life does not name the service's own limits. */
const LIMITS = { body_bytes: 64 * 2 ** 20, inputs: 256, pixels: 50e6 };
const listeners = [];
let life = null;
let inbox = { items: [], examples: 0, bytes: 0, classes: {} };
let chosenKind = "image";
let running = null;
let waiting = null;

export const currentLife = () => life;
export const currentInbox = () => inbox;
export const limits = () => ({ ...LIMITS, ...life?.limits });

/** What this life takes: as it was taught, else as what waits, else as the person chose. */
export function kind() {
  return fixedKind() ?? chosenKind;
}

export function fixedKind() {
  return life?.kind ?? inbox.items[0]?.kind ?? null;
}

export function chooseKind(chosen) {
  chosenKind = chosen;
  for (const listener of listeners) listener();
}

export function onChange(listener) {
  listeners.push(listener);
}

async function fetchAll() {
  const nextLife = await request("GET", "life");
  inbox = await request("GET", "inbox");
  life = nextLife;
  for (const listener of listeners) listener();
}

/** Asks the service again. Calls that come meanwhile share one more round, which begins after this one. */
export function refresh() {
  if (running === null) {
    running = fetchAll().finally(() => { running = null; });
    return running;
  }
  waiting ??= running.catch(() => null).then(() => {
    waiting = null;
    return refresh();
  });
  return waiting;
}
