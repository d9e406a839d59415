// Ask: what a person drops, chooses, pastes or types, with the answers to it.

import { request } from "./api.js";
import { inWords, showAnswer } from "./answers.js";
import { announce, byId, complain, counted, element, onPress, onSubmit, shortened, showEach } from "./dom.js";
import { batches, bodyOf, examplesOf, lines, onDrop, photo } from "./inputs.js";
import { chooseKind, currentLife, fixedKind, kind, onChange } from "./state.js";

const MOST_SHOWN = 30;
const AT_ONCE = 16;
const LINES = {
  text: "Texts, one on each line",
  vector: "Vectors, one on each line, with commas between the numbers",
};
const NOTHING_YET =
  "It has learned nothing yet. Make two classes or more under Teach, give each some examples, and let it sleep.";
let questions = [];
let number = 0;
let before = Promise.resolve();

function questionOf(content, asked, picture) {
  return { key: number++, content, kind: asked, picture, prediction: null, version: null };
}

/** What was asked: the photo (grey where only the service can read it), or the words. */
function shownOf({ content, kind: asked, picture }) {
  if (asked === "image") return picture ?? element("span", { class: "thumbnail" });
  return element("q", {}, shortened(asked === "vector" ? content.join(", ") : content));
}

function make(question) {
  return element("li", {}, shownOf(question), element("div", { class: "answer" }));
}

function update(node, question) {
  const answer = node.querySelector(".answer");
  if (question.prediction === null) answer.textContent = "Asking …";
  else showAnswer(answer, question.prediction, question.version);
}

function show() {
  const current = currentLife()?.version ?? null;
  const old = questions.filter((question) => question.version !== null && question.version < current);
  showEach(byId("answers"), questions, (question) => question.key, make, update);
  byId("answers-tools").hidden = questions.length === 0;
  byId("answers-stale").hidden = old.length === 0;
  byId("answers-stale").textContent = `Version ${current} answers now. What is below was said by an earlier one.`;
}

/** Asks about all of `asked`, in requests one after another, and shows each answer as it comes. */
async function answer(asked) {
  for (const kindOfAll of new Set(asked.map((question) => question.kind))) {
    const left = asked.filter((question) => question.kind === kindOfAll);
    for (const batch of batches(left.map((question) => question.content), AT_ONCE)) {
      const { version, predictions } = await request("POST", "predict", { body: bodyOf(batch, kindOfAll) });
      for (const prediction of predictions) Object.assign(left.shift(), { version, prediction });
      show();
    }
  }
  if (asked.length > 3) announce(`${counted(asked.length, "answer")}.`);
  else announce(asked.map((question) => inWords(question.prediction)).join("; "));
}

/** Asks after everything that was asked before, so that answers come in their order. */
function inTurn(action) {
  const turn = before.then(async () => {
    complain(byId("ask-zone"), null);
    try {
      await action();
    } catch (error) {
      questions = questions.filter((question) => question.prediction !== null);
      show();
      complain(byId("ask-zone"), error);
    }
  });
  before = turn;
  return turn;
}

function askAbout(found) {
  questions = [...found, ...questions].slice(0, Math.max(MOST_SHOWN, found.length));
  show();
  return answer(found);
}

export function askFiles(files) {
  return inTurn(async () => {
    const asked = kind();
    const examples = await examplesOf(await files, asked);
    const found = [];
    for (const example of examples) {
      const { content, picture } = asked === "image" ? await photo(example) : { content: example, picture: null };
      found.push(questionOf(content, asked, picture));
    }
    if (found.length > 0) await askAbout(found);
  });
}

function askAgain() {
  return inTurn(() => answer(questions));
}

function showKind() {
  const now = kind();
  byId("kind").hidden = currentLife() === null || fixedKind() !== null;
  byId("ask-photos").hidden = now !== "image";
  byId("ask-lines").hidden = now === "image";
  byId("ask-text-label").textContent = LINES[now] ?? "";
  const isNew = currentLife() !== null && currentLife().version === null;
  byId("ask-zone").hidden = isNew;
  byId("ask-hint").textContent = isNew ? NOTHING_YET : "";
}

export function startAsk() {
  onPress(byId("ask-choose"), () => byId("ask-files").click());
  byId("ask-files").addEventListener("change", (event) => {
    askFiles([...event.target.files]);
    event.target.value = "";
  });
  onDrop(byId("ask"), askFiles);
  onSubmit(byId("ask-lines"), () => inTurn(async () => {
    const asked = kind();
    const contents = [...new Set(lines(byId("ask-text").value, asked))];
    if (contents.length > 0) await askAbout(contents.map((content) => questionOf(content, asked, null)));
  }));
  onPress(byId("ask-again"), askAgain);
  onPress(byId("answers-clear"), () => {
    questions = [];
    show();
    byId("ask-title").focus();
  });
  byId("kind").addEventListener("change", (event) => chooseKind(event.target.value));
  onChange(() => {
    showKind();
    show();
  });
}
