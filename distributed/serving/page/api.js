// Requests to the service that this page came from. What it says when it refuses becomes a ServiceError.

const TOKEN = "mygo-token";
const LOCKED = "This service asks for a token: press “Enter the token”.";
const GONE = "The service does not answer: see whether it still runs.";

/** Something that a person is told, and can do something about. Any other error is a fault of this page. */
export class Problem extends Error {}

export class ServiceError extends Problem {
  /** `message` is the service's own sentence; `status` is 0 where no answer came; `wait` is in milliseconds. */
  constructor(message, status, wait = 0) {
    super(message);
    this.status = status;
    this.wait = wait;
  }
}

/** Asks the person for a token; main.js says how. Resolves to null if there is none. */
let askForToken = async () => null;
let asking = null;
let isDeclined = false;

export function useTokenDialog(ask) {
  askForToken = ask;
}

/** Asks for another token than `refused`, once for all requests that were refused meanwhile. */
async function replaceToken(refused) {
  if (refused !== sessionStorage.getItem(TOKEN)) return;
  if (isDeclined) throw new ServiceError(LOCKED, 401);
  asking ??= askForToken(refused !== null).finally(() => { asking = null; });
  const token = await asking;
  isDeclined = token === null;
  if (isDeclined) throw new ServiceError(LOCKED, 401);
  sessionStorage.setItem(TOKEN, token);
}

/** Asks again after the person had declined. */
export async function enterToken() {
  isDeclined = false;
  sessionStorage.removeItem(TOKEN);
  await replaceToken(null);
}

function isHeaderValue(token) {
  try {
    new Headers({ Authorization: token });
    return true;
  } catch {
    return false;
  }
}

async function send(method, path, query, body) {
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const headers = new Headers({ Accept: "application/json" });
  const token = sessionStorage.getItem(TOKEN);
  if (token !== null) headers.set("Authorization", `Bearer ${isHeaderValue(token) ? token : ""}`);
  if (typeof body === "string") headers.set("Content-Type", "application/json");
  const options = { method, headers, body, cache: "no-store", credentials: "same-origin", redirect: "error" };
  try {
    const answer = await fetch(url, options);
    if (answer.status === 401) return { answer, token };
    return { answer, token, content: await answer.text() };
  } catch {
    throw new ServiceError(GONE, 0);
  }
}

function parsed(content) {
  try {
    return JSON.parse(content);
  } catch {
    return null;
  }
}

/**
 * Sends one request and returns what the JSON of its answer says, null if it is empty.
 * `body` is a FormData or a Blob as it is, anything else as JSON. A 401 asks the person for a token and tries again.
 */
export async function request(method, path, { query = {}, body } = {}) {
  const isSent = body === undefined || body instanceof FormData || body instanceof Blob;
  const packed = isSent ? body : JSON.stringify(body);
  let sent = await send(method, path, query, packed);
  while (sent.answer.status === 401) {
    await replaceToken(sent.token);
    sent = await send(method, path, query, packed);
  }
  const { answer, content } = sent;
  const said = parsed(content);
  if (answer.ok && (content === "" || said !== null)) return said;
  const detail = typeof said?.detail === "string" ? said.detail : `The service answered ${answer.status} to ${path}.`;
  throw new ServiceError(detail, answer.status, 1000 * (Number(answer.headers.get("Retry-After")) || 0));
}
