// One camera, seen by one or several video elements at a time. It is free again when none is left, and when the page
// is left.

import { Problem } from "./api.js";
import { asJpeg } from "./inputs.js";

const WANTED = { video: { facingMode: "environment", width: { ideal: 640 }, height: { ideal: 480 } }, audio: false };
const WHY = {
  NotAllowedError: "The camera is not allowed here. Allow it in the browser's settings of this page, or choose photos.",
  NotFoundError: "No camera was found. Choose photos instead.",
  NotReadableError: "The camera is in use by another program. Close that, or choose photos.",
};
const viewers = new Map();
let stream = null;

function release() {
  stream?.then((open) => open.getTracks().forEach((track) => track.stop()), () => null);
  stream = null;
}

async function requested() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Problem("A browser gives the camera only to a page at localhost or over https. Choose photos instead.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia(WANTED);
  } catch (error) {
    throw new Problem(WHY[error.name] ?? `The camera cannot be used (${error.name}). Choose photos instead.`);
  }
}

/** Shows the camera in `video`. `onEnd` is called if it is taken away later: unplugged, or closed with the page. */
async function openCamera(video, onEnd) {
  viewers.set(video, onEnd);
  stream ??= requested();
  const asked = stream;
  let open;
  try {
    open = await asked;
  } catch (error) {
    viewers.delete(video);
    if (stream === asked) stream = null;
    throw error;
  }
  if (stream !== asked) throw new Problem("The camera was closed.");
  open.getVideoTracks()[0].onended = closeAll;
  video.srcObject = open;
  await video.play();
}

/** Opens the camera in `video`, and has `show` show that it is on; also that it is off, if it cannot be or ends. */
export async function openShown(video, show) {
  show(true);
  try {
    await openCamera(video, () => show(false));
  } catch (error) {
    show(false);
    throw error;
  }
}

export function closeCamera(video) {
  viewers.delete(video);
  video.srcObject = null;
  if (viewers.size === 0) release();
}

function closeAll() {
  for (const [video, onEnd] of [...viewers]) {
    closeCamera(video);
    onEnd();
  }
}

/** A canvas with what the camera sees now, at its own size; null before its first picture. */
export function frame(video) {
  if (video.videoWidth === 0) return null;
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas;
}

export async function frameAsJpeg(video) {
  const canvas = frame(video);
  return canvas === null ? null : asJpeg(canvas);
}

addEventListener("pagehide", closeAll);
