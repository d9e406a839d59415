// The camera asks: one picture at a time, a few a second, the next only when the answer to the last has come.

import { request } from "./api.js";
import { inWords, showAnswer } from "./answers.js";
import { closeCamera, frameAsJpeg, openShown } from "./camera.js";
import { announce, byId, complain, onPress, pause } from "./dom.js";
import { kind, onChange } from "./state.js";

const PAUSE_MS = 250;
const QUIET_MS = 3000;
const video = byId("ask-video");
const button = byId("ask-camera");
let isOn = false;

function show(on) {
  isOn = on;
  byId("ask-live").hidden = !on;
  button.textContent = on ? "Stop camera" : "Use camera";
  if (!on) byId("ask-live-answer").replaceChildren();
}

function stop() {
  show(false);
  closeCamera(video);
}

/** Says a class aloud when it was seen twice in a row, is another than the last that was said, and not too soon. */
function speaker() {
  let before = null;
  let said = null;
  let saidAt = -QUIET_MS;
  return (prediction) => {
    const seen = prediction.unknown ? "unknown" : prediction.class;
    if (seen === before && seen !== said && performance.now() - saidAt > QUIET_MS) {
      announce(inWords(prediction));
      said = seen;
      saidAt = performance.now();
    }
    before = seen;
  };
}

async function askOnce(speak) {
  const body = document.hidden ? null : await frameAsJpeg(video);
  if (body === null) return;
  const { version, predictions } = await request("POST", "predict", { body });
  if (!isOn) return;
  showAnswer(byId("ask-live-answer"), predictions[0], version);
  complain(button, null);
  speak(predictions[0]);
}

async function keepAsking() {
  const speak = speaker();
  while (isOn) {
    const next = performance.now() + PAUSE_MS;
    try {
      await askOnce(speak);
    } catch (error) {
      if (!isOn) return;
      complain(button, error);
      if (error.status !== 429 && error.status !== 503) return stop();  // those two pass by themselves
      await pause(error.wait || 1000);
    }
    await pause(Math.max(0, next - performance.now()));
  }
}

export function startLive() {
  onPress(button, async () => {
    if (isOn) return stop();
    await openShown(video, show);
    keepAsking();
  });
  onChange(() => { if (isOn && kind() !== "image") stop(); });
}
