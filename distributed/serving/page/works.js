// Lessons and classes being forgotten: each is followed to its end, in a bar that stays in sight.

import { request } from "./api.js";
import { announce, button, byId, element, listed, onPress, pause, percent, shortened, showEach } from "./dom.js";
import { currentLife, onChange, refresh } from "./state.js";

const POLL_MS = 500;
const MOST_NAMED = 5;
const LONGEST_NAME = 40;
const DOES = { lesson: ["Learning", "Learned", "learned"], forget: ["Forgetting", "Forgot", "forgotten"] };
const works = new Map();

const isOpen = ({ state }) => state === "waiting" || state === "running";

export function isLearning() {
  return [...works.values()].some((record) => record.what === "lesson" && isOpen(record));
}

function namesOf({ classes }) {
  if (classes.length === 0) return "a class";
  const names = classes.map((name) => shortened(name, LONGEST_NAME));
  if (names.length <= MOST_NAMED) return listed(names);
  return listed([...names.slice(0, MOST_NAMED - 1), `${names.length - MOST_NAMED + 1} more`]);
}

function titleOf(record) {
  const names = namesOf(record);
  const [does, did, participle] = DOES[record.what];
  if (record.state === "failed") return `${names} could not be ${participle}`;
  return record.state === "done" ? `${did} ${names}` : `${does} ${names}`;
}

function detailOf(record) {
  if (record.state === "failed") return record.error ?? "The service does not say why.";
  if (record.state === "done") return `Version ${record.version} answers now.`;
  return record.state === "waiting" ? "waits for its turn" : record.phase || "begins";
}

const sentenceOf = (record) => `${titleOf(record)}: ${detailOf(record)}`;

function make(record) {
  const close = button("Dismiss", "Dismiss", "quiet");
  onPress(close, () => {
    works.delete(record.id);
    show();
  });
  return element(
    "li", { class: "work" },
    element("strong", {}), element("span", { class: "phase" }), element("span", { class: "trouble" }),
    element("progress", { max: "1" }), element("span", { class: "share" }), close,
  );
}

function update(node, record) {
  const [title, phase, trouble, progress, share, close] = node.children;
  title.textContent = titleOf(record);
  phase.textContent = detailOf(record);
  trouble.textContent = record.trouble ?? "";
  progress.hidden = share.hidden = !isOpen(record);
  progress.value = record.progress ?? 0;
  progress.setAttribute("aria-label", titleOf(record));
  share.textContent = percent(Math.floor((record.progress ?? 0) * 100) / 100);
  close.hidden = isOpen(record);
  close.setAttribute("aria-label", `Dismiss: ${titleOf(record)}`);
  node.classList.toggle("failed", record.state === "failed");
  node.setAttribute("data-state", record.state);
}

function show() {
  byId("work").hidden = works.size === 0;
  showEach(byId("works"), [...works.values()], (record) => record.id, make, update);
}

/** Keeps what is new of a record. The service takes the name of a forgotten class out of it; here it stays. */
function take(latest) {
  const before = works.get(latest.id);
  const record = latest.classes.length === 0 && before ? { ...latest, classes: before.classes } : latest;
  works.set(record.id, record);
  if (before === undefined || sentenceOf(before) !== sentenceOf(record)) announce(sentenceOf(record));
  show();
}

/** Returns the record when its work has ended. While the service is away the last word of it stays, with a note. */
async function poll(id) {
  while (isOpen(works.get(id))) {
    await pause(POLL_MS);
    try {
      take(await request("GET", `lessons/${encodeURIComponent(id)}`));
    } catch (error) {
      if (error.status === 404) take({ ...works.get(id), state: "failed", error: error.message });
      else take({ ...works.get(id), trouble: error.message });
      await pause(Math.max(error.wait ?? 0, 4 * POLL_MS));
    }
  }
  return works.get(id);
}

/** Shows a piece of work, and everything anew when it has ended. Earlier ones that went well make room for it. */
export async function follow(record) {
  if (works.has(record.id)) return;
  for (const [id, { state }] of works) if (state === "done") works.delete(id);
  take(record);
  const ended = await poll(record.id);
  await refresh().catch(() => null);
  dispatchEvent(new CustomEvent("work-ended", { detail: ended }));
}

/** What has the focus is scrolled to where the bar does not lie over it. */
function keepClear() {
  document.documentElement.style.scrollPaddingBottom = `${byId("work").offsetHeight + 16}px`;
}

export function startWorks() {
  new ResizeObserver(keepClear).observe(byId("work"));
  onChange(() => {
    const { working } = currentLife();
    if (working) follow(working);
  });
}
