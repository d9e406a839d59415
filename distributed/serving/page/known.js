// What it knows: the classes with what is kept of each, forgetting one, and versions to roll back to.

import { request } from "./api.js";
import { announce, button, byId, bytes, counted, element, onPress, percent, showEach, when } from "./dom.js";
import { currentLife, onChange, refresh } from "./state.js";
import { follow } from "./works.js";

const WHY = { lesson: "a lesson", forget: "a class was forgotten", rollback: "rolled back", found: "as it was found" };

/** Asks whether the class is really to go. */
function isSure(name) {
  const dialog = byId("forget-dialog");
  byId("forget-title").textContent = `Forget ${name}?`;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "forget"), { once: true });
  });
}

function makeClass({ name }) {
  const forget = button("Forget", `Forget ${name}`, "quiet");
  onPress(forget, async () => {
    if (!(await isSure(name))) return;
    follow(await request("POST", "forget", { body: { class: name } }));
    await refresh();
  });
  const cell = (label) => element("td", { role: "cell", "data-label": label });
  return element(
    "tr", { role: "row" },
    element("th", { scope: "row", role: "rowheader" }, name),
    cell("Examples"), cell("Recall"), cell("Kept"), cell("Learned"), element("td", { role: "cell" }, forget),
  );
}

function updateClass(row, { examples, recall, memory_bytes: kept, learned, lesson }) {
  const texts = [examples ?? "–", recall === null ? "–" : percent(recall), kept === null ? "–" : bytes(kept), when(learned)];
  for (const [place, text] of texts.entries()) row.cells[place + 1].textContent = text;
  row.cells[4].title = `Lesson: ${lesson}`;
}

function makeVersion({ number }) {
  const rollBack = button("Roll back", `Roll back to version ${number}`, "quiet");
  onPress(rollBack, async () => {
    const { version, was } = await request("POST", "rollback", { body: { version: number } });
    announce(`Version ${version} answers now: it is version ${was} again.`);
    await refresh();
  });
  const text = element("p", {}, element("strong", {}, `Version ${number}`), element("span", { class: "hint" }));
  return element("li", {}, text, element("span", { class: "current" }, "answers now"), rollBack);
}

function updateVersion(node, { made, why, current }) {
  const [text, now, rollBack] = node.children;
  text.lastChild.textContent = ` ${WHY[why] ?? why}, ${when(made)}`;
  now.hidden = !current;
  rollBack.hidden = current;
}

function summaryOf({ version, classes, encoder }) {
  if (version === null) return "A new life, which knows nothing yet";
  const parts = [`Version ${version}`, counted(classes.length, "class")];
  return (encoder ? [...parts, `sees through ${encoder}`] : parts).join(" · ");
}

function keptOf({ classes, memory_bytes: kept }) {
  if (classes.length === 0) return "Nothing yet.";
  return `${bytes(kept)} of memory in all. No photo or text is kept, only what it can dream of each class.`;
}

/** Says so when what was asked lately is not like what was learned. */
function driftOf({ drift }) {
  if (!drift?.drifted) return "";
  const most = 5;
  const named = drift.changed.slice(0, most).join(", ") + (drift.changed.length > most ? " …" : "");
  const what = `The last ${counted(drift.inputs, "input")} look different from what was learned`;
  return named ? `${what}: ${named}.` : `${what}.`;
}

function show() {
  const { classes, versions } = currentLife();
  byId("summary").textContent = summaryOf(currentLife());
  byId("known-hint").textContent = keptOf(currentLife());
  const drift = driftOf(currentLife());
  if (byId("known-drift").textContent !== drift) byId("known-drift").textContent = drift;  // said aloud once
  byId("known-scroll").hidden = classes.length === 0;
  showEach(byId("classes"), classes, (each) => each.name, makeClass, updateClass);
  const newestFirst = [...versions].sort((one, other) => other.number - one.number);
  byId("versions-title").hidden = newestFirst.length === 0;
  showEach(byId("versions"), newestFirst, (each) => each.number, makeVersion, updateVersion);
}

export function startKnown() {
  onChange(show);
}
