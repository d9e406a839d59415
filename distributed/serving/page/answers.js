// How an answer looks: the class, its confidence, and a bar for each class that was likely.

import { element, percent } from "./dom.js";

/** What an answer says, in words: for the eye beside its bars, and for the ear. */
export function inWords(prediction) {
  if (prediction.error) return prediction.error;
  if (prediction.unknown) return "unknown";
  return `${prediction.class}, ${percent(prediction.confidence)}`;
}

function bar(name, share, isBest) {
  const meter = element("meter", { min: "0", max: "1", "aria-label": `Probability of ${name}` });
  meter.value = share;
  return element(
    "li", { class: isBest ? "best" : "" },
    element("span", { class: "name" }, name), meter, element("span", { class: "share" }, percent(share)),
  );
}

function bars(prediction) {
  const shares = Object.entries(prediction.probabilities ?? {}).sort((one, other) => other[1] - one[1]);
  const rows = shares.map(([name, share]) => bar(name, share, !prediction.unknown && name === prediction.class));
  return element("ul", { class: "bars", "aria-label": "Probabilities" }, ...rows);
}

function verdict(prediction) {
  if (prediction.unknown) {
    const why = " – it looks like none of the classes";
    return element("p", { class: "verdict unknown" }, element("strong", {}, "unknown"), why);
  }
  const confidence = ` ${percent(prediction.confidence)}`;
  return element("p", { class: "verdict" }, element("strong", {}, prediction.class), confidence);
}

/** Fills `node` with `prediction` of `version`. */
export function showAnswer(node, prediction, version) {
  if (prediction.error) {
    node.replaceChildren(element("p", { class: "message" }, prediction.error));
    return;
  }
  node.replaceChildren(verdict(prediction), bars(prediction), element("p", { class: "from" }, `version ${version}`));
}
