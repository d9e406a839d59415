// The map of dreams: where the memories' dreams lie, in the plane in which the classes lie apart best.

import { request } from "./api.js";
import { byId, complain, drawn, element, listed } from "./dom.js";
import { currentLife, onChange } from "./state.js";

const WIDTH = 600;
const HEIGHT = 420;
const MARGIN = 36;
const LINE = 18;
const COLOURS = 8;
const MOST_NAMED = 12;
let shownVersion;

/** Returns a function from the plane to the picture, with the same scale across and up. */
function placing(points) {
  const [across, up] = [0, 1].map((axis) => points.map((point) => point[axis]));
  const [left, right] = [Math.min(...across), Math.max(...across)];
  const [bottom, top] = [Math.min(...up), Math.max(...up)];
  const scale = Math.min((WIDTH - 2 * MARGIN) / (right - left || 1), (HEIGHT - 2 * MARGIN) / (top - bottom || 1));
  return ([x, y]) => [
    WIDTH / 2 + scale * (x - (left + right) / 2),
    HEIGHT / 2 - scale * (y - (bottom + top) / 2),
  ];
}

/** Where labels go: beside their class, moved down where one above them is in the way. */
function labelPlaces(means) {
  const taken = [];
  const places = new Array(means.length);
  for (const index of [...means.keys()].sort((one, other) => means[one][1] - means[other][1])) {
    const x = means[index][0];
    let y = means[index][1] - 12;
    for (const [otherX, otherY] of taken) if (Math.abs(otherX - x) < 110 && y - otherY < LINE) y = otherY + LINE;
    taken.push([x, y]);
    places[index] = [x, Math.max(LINE, y)];
  }
  return places;
}

function mark([x, y], shape, size) {
  if (shape === 1) return drawn("rect", { x: x - size, y: y - size, width: 2 * size, height: 2 * size });
  if (shape === 2) return drawn("path", { d: `M${x} ${y - size * 1.3}L${x + size * 1.2} ${y + size}H${x - size * 1.2}Z` });
  return drawn("circle", { cx: x, cy: y, r: size });
}

function picture(classes) {
  const place = placing(classes.flatMap(({ mean, dreams }) => [mean, ...dreams]));
  const means = classes.map(({ mean }) => place(mean));
  const labels = labelPlaces(means);
  const lookOf = (index) => `colour-${index % COLOURS}`;
  const shapeOf = (index) => Math.floor(index / COLOURS) % 3;
  const dots = classes.map(({ dreams }, index) =>
    drawn("g", { class: `dreams ${lookOf(index)}` }, ...dreams.map((dream) => mark(place(dream), shapeOf(index), 2.6))));
  const rings = classes.map((_, index) => drawn("g", { class: `mean ${lookOf(index)}` }, mark(means[index], shapeOf(index), 6)));
  const names = classes.map(({ name }, index) => {
    const [x, y] = labels[index];
    const anchor = x < WIDTH * 0.2 ? "start" : x > WIDTH * 0.8 ? "end" : "middle";
    return drawn("text", { x, y, "text-anchor": anchor }, name.length > 24 ? `${name.slice(0, 23)}…` : name);
  });
  const attributes = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": inWords(classes) };
  return drawn("svg", attributes, ...dots, ...rings, ...names);
}

/** For each class the one whose mean is nearest: {name, distance}, null where there is no other. */
function nearest(classes) {
  return classes.map(({ mean }, index) => {
    const others = classes.flatMap((other, place) =>
      place === index ? [] : [{ name: other.name, distance: Math.hypot(mean[0] - other.mean[0], mean[1] - other.mean[1]) }]);
    return others.length === 0 ? null : others.reduce((one, other) => (other.distance < one.distance ? other : one));
  });
}

function inWords(classes) {
  const names = classes.slice(0, MOST_NAMED).map(({ name }) => name);
  const rest = classes.length - names.length;
  const near = nearest(classes);
  const closest = near.reduce((best, each, index) => (each !== null && (best === null || each.distance < near[best].distance) ? index : best), null);
  const said = `Map of the dreams of ${listed(rest > 0 ? [...names, `${rest} more`] : names)}.`;
  return closest === null ? said : `${said} Closest to each other: ${classes[closest].name} and ${near[closest].name}.`;
}

function rows(classes) {
  const near = nearest(classes);
  return classes.map(({ name, mean }, index) => element(
    "tr", {},
    element("th", { scope: "row" }, name),
    ...[mean[0].toFixed(2), mean[1].toFixed(2), near[index]?.name ?? "–", near[index]?.distance.toFixed(2) ?? "–"].map((text) => element("td", {}, text)),
  ));
}

function show(classes, hint) {
  const isThere = classes.length > 0;
  byId("map-hint").textContent = hint;
  byId("map-figure").hidden = byId("map-details").hidden = !isThere;
  byId("map-picture").replaceChildren(...(isThere ? [picture(classes)] : []));
  byId("map-rows").replaceChildren(...(isThere ? rows(classes) : []));
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
}
