// The map of dreams: where the memories' dreams lie, in the plane in which the classes lie apart best.

import { request } from "./api.js";
import { byId, complain, drawn, element, listed, shortened } from "./dom.js";
import { currentLife, onChange } from "./state.js";

const SHAPE = 0.72;
const MARGIN = 34;
const LETTER = 8;
const LONGEST = 24;
const COLOURS = 8;
const MOST_NAMED = 12;
let shownVersion;
let shownClasses = [];

/** Returns a function from the plane to a picture of that size, with the same scale across and up. */
function placing(points, width, height) {
  const [across, up] = [0, 1].map((axis) => points.map((point) => point[axis]));
  const [left, right] = [Math.min(...across), Math.max(...across)];
  const [bottom, top] = [Math.min(...up), Math.max(...up)];
  const scale = Math.min((width - 2 * MARGIN) / (right - left || 1), (height - 2 * MARGIN) / (top - bottom || 1));
  return ([x, y]) => [
    width / 2 + scale * (x - (left + right) / 2),
    height / 2 - scale * (y - (bottom + top) / 2),
  ];
}

function common(one, other) {
  const width = Math.min(one.right, other.right) - Math.max(one.left, other.left);
  const height = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
  return Math.max(0, width) * Math.max(0, height);
}

/** Where labels go: above their class, else below or beside it, where least of other labels and rings is in the way. */
function labelPlaces(classes, means, width) {
  const taken = means.map(([x, y]) => ({ left: x - 8, right: x + 8, top: y - 8, bottom: y + 8 }));
  return classes.map(({ name }, index) => {
    const half = (shortened(name, LONGEST).length * LETTER) / 2;
    const [x, y] = means[index];
    const others = taken.filter((_, place) => place !== index);
    const at = (across, down) => {
      const middle = Math.min(Math.max(x + across, half + 4), width - half - 4);
      const [left, right] = [middle - half, middle + half];
      return { x: middle, y: y + down, left, right, top: y + down - 13, bottom: y + down + 4 };
    };
    const choices = [at(0, -13), at(0, 24), at(half + 12, 5), at(-half - 12, 5), at(0, -29), at(0, 40)];
    const covered = choices.map((box) => others.reduce((sum, other) => sum + common(box, other), 0));
    const chosen = choices[covered.indexOf(Math.min(...covered))];
    taken.push(chosen);
    return chosen;
  });
}

function mark([x, y], shape, size) {
  if (shape === 1) return drawn("rect", { x: x - size, y: y - size, width: 2 * size, height: 2 * size });
  const half = size * 1.2;
  if (shape === 2) return drawn("path", { d: `M${x} ${y - size * 1.3}L${x + half} ${y + size}H${x - half}Z` });
  return drawn("circle", { cx: x, cy: y, r: size });
}

/** Draws a pixel of the picture as one of the page, so that its letters are as large as the others. */
function picture(classes, width) {
  const height = Math.round(width * SHAPE);
  const place = placing(classes.flatMap(({ mean, dreams }) => [mean, ...dreams]), width, height);
  const means = classes.map(({ mean }) => place(mean));
  const labels = labelPlaces(classes, means, width);
  const lookOf = (index) => `colour-${index % COLOURS}`;
  const shapeOf = (index) => Math.floor(index / COLOURS) % 3;
  const marksOf = (what, index, places, size) =>
    drawn("g", { class: `${what} ${lookOf(index)}` }, ...places.map((each) => mark(each, shapeOf(index), size)));
  const dots = classes.map(({ dreams }, index) => marksOf("dreams", index, dreams.map(place), 2.6));
  const rings = means.map((mean, index) => marksOf("mean", index, [mean], 6));
  const names = classes.map(({ name }, index) => {
    const { x, y } = labels[index];
    return drawn("text", { x, y, "text-anchor": "middle" }, shortened(name, LONGEST));
  });
  const attributes = { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": inWords(classes) };
  return drawn("svg", attributes, ...dots, ...rings, ...names);
}

/** For each class the one whose mean is nearest: {name, distance}, null where there is no other. */
function nearest(classes) {
  return classes.map(({ mean: [x, y] }, index) => {
    const all = classes.map(({ name, mean }) => ({ name, distance: Math.hypot(x - mean[0], y - mean[1]) }));
    all.splice(index, 1);
    return all.length === 0 ? null : all.reduce((one, other) => (other.distance < one.distance ? other : one));
  });
}

function inWords(classes) {
  const names = classes.slice(0, MOST_NAMED).map(({ name }) => name);
  const rest = classes.length - names.length;
  const said = `Map of the dreams of ${listed(rest > 0 ? [...names, `${rest} more`] : names)}.`;
  if (classes.length < 2) return said;
  const near = nearest(classes);
  const closest = near.reduce((best, { distance }, index) => (distance < near[best].distance ? index : best), 0);
  return `${said} Closest to each other: ${classes[closest].name} and ${near[closest].name}.`;
}

function rows(classes) {
  const near = nearest(classes);
  return classes.map(({ name, mean }, index) => {
    const [other, away] = near[index] === null ? ["–", "–"] : [near[index].name, near[index].distance.toFixed(2)];
    const cells = [mean[0].toFixed(2), mean[1].toFixed(2), other, away].map((text) => element("td", {}, text));
    return element("tr", {}, element("th", { scope: "row" }, name), ...cells);
  });
}

function draw() {
  const width = Math.round(byId("map-picture").clientWidth);
  if (width > 0) byId("map-picture").replaceChildren(picture(shownClasses, width));
}

function show(classes, hint) {
  shownClasses = classes;
  const isThere = classes.length > 0;
  byId("map-hint").textContent = hint;
  byId("map-figure").hidden = byId("map-details").hidden = !isThere;
  byId("map-rows").replaceChildren(...rows(classes));
  if (isThere) draw();
}

async function showVersion(version) {
  if (version === shownVersion) return;
  shownVersion = version;
  if (version === null) return show([], "There is nothing to dream of yet.");
  try {
    const { classes } = await request("GET", "life/map");
    if (shownVersion === version) show(classes, "");
    complain(byId("map-hint"), null);
  } catch (error) {
    show([], error.status === 404 ? error.message : "");
    if (error.status === 404) return;
    shownVersion = undefined;
    complain(byId("map-hint"), error);
  }
}

export function startMap() {
  onChange(() => { showVersion(currentLife().version); });
  new ResizeObserver(() => { if (shownClasses.length > 0) draw(); }).observe(byId("map-picture"));
}
