// The card of a class that is being taught: examples go in, and what waits in the inbox can be taken out.

import { request } from "./api.js";
import { announce, button, bytes, complain, counted, element, onPress, onSubmit, showEach, when } from "./dom.js";
import { batches, bodyOf, examplesOf, lines, onDrop, photo } from "./inputs.js";
import { kind, refresh } from "./state.js";
import { takingFor } from "./taking.js";

const MOST_THUMBNAILS = 10;
const AT_ONCE = 32;
const LINES = {
  text: { what: "Texts", how: "One text on each line, or drop text files." },
  vector: { what: "Vectors", how: "One vector on each line, with commas between its numbers." },
};
const WHAT = { image: "photo", text: "text", vector: "vector" };

/** The controls of a card for photos: where they are dropped, chosen or taken. */
function photoControls(name, teach) {
  const files = element("input", { type: "file", accept: "image/*", multiple: true, hidden: true });
  const choose = button("Choose photos", `Choose photos of ${name}`);
  const taking = takingFor(name, teach);
  choose.addEventListener("click", () => files.click());
  files.addEventListener("change", () => {
    teach(photosOf([...files.files]));
    files.value = "";
  });
  const drop = element("p", { class: "hint" }, "Drop photos here, or");
  const row = element("div", { class: "row" }, choose, taking.toggle);
  return { node: element("div", { class: "controls" }, drop, row, taking.view, files), close: taking.close };
}

/** The controls of a card for texts or vectors: a field with one on each line. */
function lineControls(name, ofKind, teach) {
  const { what, how } = LINES[ofKind];
  const field = element("textarea", { rows: "3", "aria-label": `${what} of ${name}, one on each line` });
  const add = element("button", { type: "submit", "aria-label": `Add to ${name}` }, "Add");
  const form = element("form", {}, element("p", { class: "hint" }, how), field, element("div", { class: "row" }, add));
  onSubmit(form, async () => {
    const found = lines(field.value, ofKind).map((content) => ({ content, picture: null }));
    if (await teach(found)) field.value = "";
  });
  return { node: form, close: () => null };
}

/** Makes photos ready one by one, so that many large ones are never decoded at a time. */
async function photosOf(files) {
  const found = [];
  for (const file of files) found.push(await photo(file));
  return found;
}

async function droppedOf(files, ofKind) {
  if (ofKind === "image") return photosOf(await files);
  return (await examplesOf(await files, ofKind)).map((content) => ({ content, picture: null }));
}

function itemOf(name) {
  return (item) => {
    const what = `${counted(item.count, WHAT[item.kind])}, ${when(item.when)}`;
    const remove = button("Remove", `Remove ${what} of ${name}`, "quiet");
    onPress(remove, async () => {
      await request("DELETE", `inbox/${encodeURIComponent(item.id)}`);
      announce(`Removed ${what} of ${name}.`);
      await refresh();
    });
    return element("li", {}, element("span", {}, `${what} (${bytes(item.bytes)})`), remove);
  };
}

export class Card {
  #pictures = element("div", { class: "thumbnails" });
  #sending = element("progress", { hidden: true });
  #count = element("span", { class: "count" });
  #items = element("ul", { class: "items" });
  #details = element("details", { hidden: true });
  #known = element("p", { class: "hint" });
  #controls = null;
  #before = Promise.resolve();

  /** `onTaught(name)` is told the name that the service wrote for the class; `onRemove` that the card is to go. */
  constructor(name, onTaught, onRemove) {
    this.name = name;
    this.kind = null;
    this.onTaught = onTaught;
    this.title = element("h3", { tabindex: "-1" }, name);
    this.remove = button("Remove", `Remove ${name} and what waits of it`, "quiet");
    onPress(this.remove, () => onRemove(this));
    this.#details.append(element("summary", {}, "What waits of this class"), this.#items);
    this.body = element("div", {});
    this.node = element(
      "li", { class: "card" },
      element("div", { class: "head" }, this.title, this.#count, this.remove), this.#known,
      this.body, this.#sending, this.#pictures, this.#details,
    );
    this.#sending.setAttribute("aria-label", `Sending examples of ${name}`);
    onDrop(this.node, (files) => this.teach(droppedOf(files, kind())));
  }

  /** Shows what waits of this class (`items` of the inbox), and whether the life knows it. */
  update(items, isKnown) {
    if (this.kind !== kind()) this.#useKind(kind());
    const waiting = items.reduce((sum, item) => sum + item.count, 0);
    this.#count.textContent = waiting > 0 ? `${counted(waiting, WHAT[items[0].kind])} waiting` : "nothing waiting";
    this.#known.textContent = isKnown ? "It knows this class: what you add refreshes it." : "";
    this.#details.hidden = items.length === 0;
    if (waiting === 0) this.#pictures.replaceChildren();
    showEach(this.#items, items, (item) => item.id, itemOf(this.name), () => null);
  }

  #useKind(ofKind) {
    this.close();
    this.kind = ofKind;
    const teach = (found) => this.teach(found);
    this.#controls = ofKind === "image" ? photoControls(this.name, teach) : lineControls(this.name, ofKind, teach);
    this.body.replaceChildren(this.#controls.node);
  }

  close() {
    this.#controls?.close();
  }

  /** Sends examples, or a promise of them, after what was sent before. Returns whether all of them were taken. */
  teach(found) {
    const turn = this.#before.then(async () => {
      complain(this.node, null);
      try {
        const examples = await found;
        if (examples.length > 0) await this.#send(examples);
        return examples.length > 0;
      } catch (error) {
        complain(this.node, error);
        await refresh().catch(() => null);
        return false;
      } finally {
        this.#sending.hidden = true;
      }
    });
    this.#before = turn;
    return turn;
  }

  async #send(examples) {
    const ofKind = kind();
    const left = [...examples];
    let name = this.name;
    this.#sending.max = examples.length;
    this.#sending.value = 0;
    this.#sending.hidden = false;
    for (const batch of batches(examples.map((example) => example.content), AT_ONCE)) {
      const item = await request("POST", "teach", { body: bodyOf(batch, ofKind, name) });
      name = item.class;
      const pictures = left.splice(0, batch.length).map((example) => example.picture).filter(Boolean);
      this.#pictures.prepend(...pictures.reverse());
      while (this.#pictures.childElementCount > MOST_THUMBNAILS) this.#pictures.lastElementChild.remove();
      this.#sending.value = examples.length - left.length;
    }
    announce(`${counted(examples.length, WHAT[ofKind])} of ${name} wait to be learned.`);
    this.onTaught(this, name);
    await refresh();
  }
}
