// Teach: classes with the examples that wait in the inbox, and the sleep in which they are learned.

import { Problem, request } from "./api.js";
import { Card } from "./card.js";
import { announce, byId, complain, counted, element, enable, listed, onPress, onSubmit, showEach } from "./dom.js";
import { onDrop } from "./inputs.js";
import { currentInbox, currentLife, onChange, refresh } from "./state.js";
import { follow, isLearning } from "./works.js";

const cards = new Map();

function addCard(name) {
  if (!cards.has(name)) cards.set(name, new Card(name, rename, removeCard));
  return cards.get(name);
}

/** A class goes by the name that the service wrote for it. */
function rename(card, name) {
  if (name === card.name) return;
  dropCard(card);
  addCard(name);
}

function dropCard(card) {
  card.close();
  cards.delete(card.name);
}

async function removeCard(card) {
  await request("DELETE", "inbox", { query: { class: card.name } });
  dropCard(card);
  announce(`Removed ${card.name}.`);
  await refresh();
}

function itemsOf(name) {
  return currentInbox().items.filter((item) => item.class === name);
}

function showCards() {
  const known = new Set((currentLife()?.classes ?? []).map((each) => each.name));
  for (const item of currentInbox().items) addCard(item.class);
  const update = (node, card) => card.update(itemsOf(card.name), known.has(card.name));
  showEach(byId("cards"), [...cards.values()], (card) => card.name, (card) => card.node, update);
  showEach(byId("known-classes"), [...known], (name) => name, (name) => element("option", { value: name }), () => null);
}

/** What would be learned now, and when the life sleeps by itself. */
function sleepHint() {
  const { examples, items } = currentInbox();
  if (isLearning()) return "It is learning, and goes on answering. What you add now is for the next sleep.";
  if (examples === 0) return `Nothing waits to be learned. ${byItself()}`;
  const names = listed(new Set(items.map((item) => item.class)));
  return `It learns the ${counted(examples, "example")} of ${names}, and then deletes them. ${byItself()}`;
}

function byItself() {
  const { sleep_at: at, sleep_after: after } = currentLife();
  const when = [at && `at ${at}`, after && `once ${counted(after, "example")} wait`].filter(Boolean);
  return when.length === 0 ? "" : `It sleeps by itself ${when.join(" and ")}.`;
}

function showSleep() {
  enable(byId("sleep"), currentInbox().examples > 0 && !isLearning());
  byId("sleep-hint").textContent = sleepHint();
}

/** Cards of classes that were learned meanwhile go: the next examples of such a class get a new one. */
function forgetLearned(record) {
  if (record.state !== "done") return;
  for (const name of record.classes) if (cards.has(name) && itemsOf(name).length === 0) dropCard(cards.get(name));
}

export function startTeach() {
  onSubmit(byId("class-form"), () => {
    const name = byId("class-name").value.normalize("NFC").trim();
    if (name === "") throw new Problem("Give the class a name.");
    const card = addCard(name);
    byId("class-name").value = "";
    showCards();
    card.title.focus();
    card.node.scrollIntoView({ block: "nearest" });
  });
  onDrop(byId("teach"), (files) => {
    files.catch(() => null);
    complain(byId("class-form"), new Problem("Drop examples on a class: give its name above, and make it."));
  });
  onPress(byId("sleep"), async () => {
    const record = await request("POST", "sleep");
    follow(record);
    await refresh();
  });
  onChange(() => {
    showCards();
    showSleep();
  });
  addEventListener("work-ended", ({ detail }) => {
    forgetLearned(detail);
    showCards();
    showSleep();
  });
}
