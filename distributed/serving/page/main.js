// Starts the parts of the page, asks for the token when the service wants one, and keeps what is shown fresh.

import { enterToken, useTokenDialog } from "./api.js";
import { askFiles, startAsk } from "./ask.js";
import { byId, complain, onPress } from "./dom.js";
import { startKnown } from "./known.js";
import { startLive } from "./live.js";
import { startMap } from "./map.js";
import { kind, refresh } from "./state.js";
import { startTeach } from "./teach.js";
import { startWorks } from "./works.js";

const REFRESH_MS = 10_000;

/** Resolves to the token that the person typed, or to null. */
function askForToken(wasRefused) {
  const dialog = byId("token-dialog");
  const field = byId("token");
  byId("token-refused").textContent = wasRefused ? "The service refused that token." : "";
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const token = dialog.returnValue === "use" ? field.value.trim() : "";
      field.value = "";
      byId("enter-token").hidden = token !== "";
      resolve(token || null);
    }, { once: true });
  });
}

/** Shows everything anew. Until the service has answered once, nothing can be used: what it takes is not known. */
async function refreshAndSay() {
  try {
    await refresh();
    document.querySelector("main").inert = false;
    complain(byId("trouble"), null);
  } catch (error) {
    byId("summary").textContent = "";
    complain(byId("trouble"), error);
  }
}

function takePasted(event) {
  const files = [...event.clipboardData.files];
  const isTyping = event.target.closest?.("input, textarea") !== null;
  if (files.length === 0 || isTyping || kind() !== "image") return;
  event.preventDefault();
  askFiles(files);
}

/** A drop that misses every panel must not make the browser leave the page. */
function ignoreOtherDrops() {
  for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
}

useTokenDialog(askForToken);
byId("token-cancel").addEventListener("click", () => byId("token-dialog").close(""));
onPress(byId("enter-token"), async () => {
  await enterToken();
  await refreshAndSay();
});
document.addEventListener("paste", takePasted);
ignoreOtherDrops();
for (const start of [startAsk, startLive, startTeach, startWorks, startKnown, startMap]) start();
await refreshAndSay();
setInterval(() => { if (!document.hidden) refreshAndSay(); }, REFRESH_MS);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refreshAndSay(); });
