// Examples from the camera: pictures are taken as long as a button is held, with a mouse, a finger or a key.

import { closeCamera, frame, openShown } from "./camera.js";
import { button, element, onPress } from "./dom.js";
import { asJpeg, thumbnail } from "./inputs.js";

const EVERY_MS = 150;
const MOST = 200;
const HELD_KEYS = new Set([" ", "Enter"]);

/** Calls `start` when `held` begins to be held and `end` when it is let go; a screen reader's click is both. */
function onHold(held, start, end) {
  let isHeld = false;
  const begin = () => {
    if (isHeld) return;
    isHeld = true;
    start();
  };
  const finish = () => {
    if (!isHeld) return;
    isHeld = false;
    end();
  };
  held.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    held.setPointerCapture(event.pointerId);
    begin();
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) held.addEventListener(name, finish);
  held.addEventListener("keydown", (event) => {
    if (!HELD_KEYS.has(event.key)) return;
    event.preventDefault();
    begin();
  });
  held.addEventListener("keyup", (event) => {
    if (!HELD_KEYS.has(event.key)) return;
    event.preventDefault();
    finish();
  });
  held.addEventListener("contextmenu", (event) => event.preventDefault());
  held.addEventListener("click", (event) => {
    if (event.detail !== 0) return;
    begin();
    finish();
  });
}

/**
 * The camera of one class: a button that opens it, what it sees, and a button to hold. `take` is given what was taken,
 * an array of {content, picture}, when the button is let go.
 */
export function takingFor(name, take) {
  const toggle = button("Use camera", `Use camera for ${name}`);
  const video = element("video", { muted: true, playsinline: true, "aria-label": `What the camera sees, for ${name}` });
  video.muted = true;
  const hold = button("Hold to take photos", `Hold to take photos of ${name}`, "primary");
  const count = element("p", { class: "hint" }, "Hold it down, or press it once for a single photo.");
  const view = element("div", { class: "camera", hidden: true }, video, hold, count);
  let taken = [];
  let timer = null;

  const shoot = () => {
    const canvas = taken.length < MOST ? frame(video) : null;
    if (canvas === null) return;
    taken.push({ content: asJpeg(canvas), picture: thumbnail(canvas) });
    count.textContent = taken.length < MOST ? `${taken.length} taken` : `${MOST} taken: let go to keep them`;
  };
  const show = (isOn) => {
    view.hidden = !isOn;
    toggle.textContent = isOn ? "Stop camera" : "Use camera";
    toggle.setAttribute("aria-label", `${toggle.textContent} for ${name}`);
  };
  const end = async () => {
    clearInterval(timer);
    const pictures = taken;
    taken = [];
    if (pictures.length === 0) return;
    take(Promise.all(pictures.map(async ({ content, picture }) => ({ content: await content, picture }))));
  };
  const close = () => {
    show(false);
    closeCamera(video);
  };
  onHold(hold, () => {
    shoot();
    timer = setInterval(shoot, EVERY_MS);
  }, end);
  onPress(toggle, async () => {
    if (!view.hidden) return close();
    await openShown(video, show);
  });
  return { toggle, view, close };
}
