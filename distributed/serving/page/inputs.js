// What a person hands in (photos, texts, vectors), made ready to be sent.

import { Problem } from "./api.js";
import { limits } from "./state.js";

const THUMBNAIL = 96;

/**
 * A photo to send, and a small picture of it (null where only the service can read it). It is sent as it is; only one
 * with more pixels or bytes than the service takes is scaled down and becomes a JPEG.
 */
export async function photo(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return { content: file, picture: null };
  }
  try {
    return { content: await withinLimits(file, bitmap), picture: thumbnail(bitmap) };
  } finally {
    bitmap.close();
  }
}

async function withinLimits(file, bitmap) {
  const { pixels, body_bytes: most } = limits();
  let content = file;
  let scale = Math.min(1, Math.sqrt(pixels / (bitmap.width * bitmap.height)));
  while (scale < 1 || content.size > most * 0.9) {
    const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.floor(side * scale)));
    content = await asJpeg(scaled(bitmap, width, height));
    if (content.size <= most * 0.9) break;
    scale *= 0.7;
  }
  return content;
}

export function asJpeg(canvas) {
  return new Promise((resolve, reject) => {
    const take = (blob) => (blob ? resolve(blob) : reject(new Problem("This photo cannot be made smaller.")));
    canvas.toBlob(take, "image/jpeg", 0.92);
  });
}

function scaled(source, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").drawImage(source, 0, 0, width, height);
  return canvas;
}

/** A square picture from the middle of `source`, decorative: what it shows stands beside it in words. */
export function thumbnail(source) {
  const side = Math.min(source.width, source.height);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = THUMBNAIL;
  canvas.className = "thumbnail";
  canvas.setAttribute("aria-hidden", "true");
  const left = (source.width - side) / 2;
  const top = (source.height - side) / 2;
  canvas.getContext("2d").drawImage(source, left, top, side, side, 0, 0, THUMBNAIL, THUMBNAIL);
  return canvas;
}

/** One example from each line that is not empty; of a life of vectors, a line holds numbers. */
export function lines(text, kind) {
  const found = text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  if (kind !== "vector") return found;
  return found.map((line) => {
    const numbers = line.split(/[\s,;]+/).filter((part) => part !== "").map(Number);
    if (numbers.every(Number.isFinite)) return numbers;
    throw new Problem(`Write numbers alone, with commas between them: not “${line.slice(0, 40)}”.`);
  });
}

/** The examples of files: photos as they are, and of a life of texts one text from each file. */
export async function examplesOf(files, kind) {
  if (kind === "image") return files;
  if (kind === "vector") throw new Problem("This life learns vectors: type their numbers.");
  if (files.some((file) => file.type.startsWith("image/"))) throw new Problem("This life learns texts: drop those.");
  return Promise.all(files.map((file) => file.text()));
}

function sizeOf(example) {
  if (example instanceof Blob) return example.size + 1000;
  return JSON.stringify(example).length * (typeof example === "string" ? 3 : 1) + 10;
}

/** Yields `examples` in groups that fit into one request each. */
export function* batches(examples, most = Infinity) {
  const { inputs, body_bytes: room } = limits();
  let batch = [];
  let size = 0;
  for (const example of examples) {
    const added = sizeOf(example);
    if (batch.length > 0 && (batch.length === Math.min(inputs, most) || size + added > room * 0.95)) {
      yield batch;
      batch = [];
      size = 0;
    }
    batch.push(example);
    size += added;
  }
  if (batch.length > 0) yield batch;
}

/** The body of a request with `examples`, and the name of their class when they are taught. File names stay here. */
export function bodyOf(examples, kind, className = null) {
  if (kind !== "image") {
    const body = { [kind === "text" ? "texts" : "vectors"]: examples };
    return className === null ? body : { ...body, class: className };
  }
  const form = new FormData();
  if (className !== null) form.append("class", className);
  for (const [number, content] of examples.entries()) form.append("images", content, `photo-${number}`);
  return form;
}

/** The files of a drop, those in dropped folders too. */
export async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  return (await Promise.all(entries.map(filesOf))).flat();
}

async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const inside = [];
  for (;;) {  // a reader hands out a hundred at a time
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) break;
    inside.push(...some);
  }
  const visible = inside.filter((each) => !each.name.startsWith("."));
  return (await Promise.all(visible.map(filesOf))).flat();
}

/** Has `zone` take files that are dropped on it. */
export function onDrop(zone, take) {
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    event.stopPropagation();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    zone.classList.remove("over");
    take(droppedFiles(event.dataTransfer));
  });
}
