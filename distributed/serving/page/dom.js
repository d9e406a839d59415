// Small helpers for what the page shows. Text goes in as text nodes alone, so a name that is HTML stays a name.

import { Problem } from "./api.js";

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function drawn(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** A button that says `text`; a screen reader calls it `label`, which begins with what can be seen. */
export function button(text, label = text, look = "") {
  return element("button", { type: "button", class: look, "aria-label": label }, text);
}

export function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

export function byId(id) {
  return document.getElementById(id);
}

/** Has a screen reader say `sentence` when it has said what it is saying. */
export function announce(sentence) {
  const announcer = byId("announcer");
  announcer.textContent = announcer.textContent === sentence ? `${sentence}\u00a0` : sentence;
}

/** Shows `error` in the panel of `node`, at once read aloud; null takes away what was shown. */
export function complain(node, error) {
  const message = node.closest("section, header")?.querySelector(".message");
  if (!message) return;  // it is gone from the page meanwhile
  message.textContent = error === null ? "" : error.message;
  if (error !== null && !(error instanceof Problem)) console.error(error);
}

/** Runs `action` when `button` is pressed, never twice at a time, and shows what went wrong in its panel. */
export function onPress(button, action) {
  listen(button, "click", action);
}

export function onSubmit(form, action) {
  listen(form, "submit", action);
}

function listen(node, event, action) {
  node.addEventListener(event, async (happened) => {
    happened.preventDefault();
    if ("busy" in node.dataset || node.getAttribute("aria-disabled") === "true") return;
    node.dataset.busy = "";
    complain(node, null);
    try {
      await action();
    } catch (error) {
      complain(node, error);
    } finally {
      delete node.dataset.busy;
    }
  });
}

/** A button that cannot be used now keeps the keyboard's focus, which `disabled` would take away. */
export function enable(button, isEnabled) {
  if (isEnabled) button.removeAttribute("aria-disabled");
  else button.setAttribute("aria-disabled", "true");
}

const shown = new WeakMap();

/**
 * Makes the children of `parent` show `items` in their order. A child is made once for each key and updated later,
 * so that focus stays where it is; if it was in a child that goes, it moves to the heading of the panel.
 */
export function showEach(parent, items, keyOf, make, update) {
  const before = shown.get(parent) ?? new Map();
  const now = new Map();
  const hadFocus = parent.contains(document.activeElement);
  for (const item of items) {
    const key = keyOf(item);
    now.set(key, before.get(key) ?? make(item));
    update(now.get(key), item);
  }
  for (const [key, node] of before) if (!now.has(key)) node.remove();
  let place = parent.firstElementChild;
  for (const node of now.values()) {
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  shown.set(parent, now);
  if (hadFocus && !parent.contains(document.activeElement)) {
    parent.closest("section, aside")?.querySelector("h2").focus();
  }
}

const listOfAll = new Intl.ListFormat("en", { type: "conjunction" });
const percentage = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const thisYear = { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" };
const dayAndTime = new Intl.DateTimeFormat(undefined, thisYear);
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export const listed = (names) => listOfAll.format(names);
export const percent = (share) => percentage.format(share);
export const counted = (count, what) => `${number.format(count)} ${count === 1 ? what : plural(what)}`;

function plural(what) {
  return what.endsWith("ss") ? `${what}es` : `${what}s`;
}

export function bytes(count) {
  const power = Math.min(Math.floor(Math.log10(Math.max(count, 1)) / 3), 3);
  return `${number.format(count / 1000 ** power)} ${["B", "kB", "MB", "GB"][power]}`;
}

export function when(iso) {
  const date = new Date(iso ?? NaN);
  if (Number.isNaN(date.getTime())) return "–";
  return (date.getFullYear() === new Date().getFullYear() ? dayAndTime : day).format(date);
}

export function shortened(text, length = 80) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}
