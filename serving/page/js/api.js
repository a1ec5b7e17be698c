// Requests to the service. A refusal becomes a `Problem` (RFC 9457).

const KEY = "mien.key";
let keyWithoutStorage = null;

/** Why there is no answer. */
export class Problem extends Error {
  constructor({ kind, status = 0, title = "", detail = "", retryAfterS = null, requestId = null }) {
    super(detail || title || kind);
    Object.assign(this, { kind, status, title, detail, retryAfterS, requestId });
  }

  /** Whether the same request may well be answered a little later. */
  get passing() {
    return this.status === 503 || this.status === 429;
  }
}

/** The key of this tab, if one was given. It is kept until the tab is closed, and nowhere else. */
export const key = {
  get() {
    try {
      return sessionStorage.getItem(KEY);
    } catch {
      return keyWithoutStorage;
    }
  },
  set(value) {
    keyWithoutStorage = value;
    try {
      sessionStorage.setItem(KEY, value);
    } catch {
      /* no storage: this page only */
    }
    this.onchange();
  },
  forget() {
    keyWithoutStorage = null;
    try {
      sessionStorage.removeItem(KEY);
    } catch {
      /* there is none */
    }
    this.onchange();
  },
  /** Called on every change. */
  onchange() {},
};

async function asked(path, { method = "GET", body = null, type = null, signal = null, withKey = true } = {}) {
  const headers = { accept: "application/json" };
  if (type) headers["content-type"] = type;
  if (withKey && key.get()) headers.authorization = `Bearer ${key.get()}`;
  let response;
  try {
    response = await fetch(path, {
      method,
      body,
      headers,
      signal,
      credentials: "same-origin",
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ kind: "unreachable" });
  }
  if (!response.ok) throw await refused(response);
  return response;
}

async function refused(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    /* something in between answered, not the service */
  }
  const kind = String(body.type ?? "").replace("urn:mien:problem:", "") || `status-${response.status}`;
  const wait = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
  return new Problem({
    kind,
    status: response.status,
    title: body.title ?? response.statusText,
    detail: body.detail ?? "",
    retryAfterS: Number.isFinite(wait) ? wait : null,
    requestId: body.request_id ?? response.headers.get("x-request-id"),
  });
}

const json = async (path, options) => (await asked(path, options)).json();

/** Facts for a visitor before a request; fetched without a key, so that a wrong key does not prevent it. */
export const about = () => json("about", { withKey: false });
/** The same as they are for this visitor's key; a key that is not known is refused. */
export const aboutVisitor = () => json("about");
export const model = () => json("model");
export const card = () => json("model/card");
export const history = () => json("model/history?limit=20");
export const shadow = () => json("model/shadow");
export const drift = () => json("drift");
export const prediction = (id) => json(`predictions/${encodeURIComponent(id)}`);
export const driftReport = async () => (await asked("drift/report", {})).blob();

/** A picture's faces, what they show and why. */
export function explain(picture, { signal } = {}) {
  return json("explain", {
    method: "POST",
    body: picture,
    type: picture.type || "application/octet-stream",
    signal,
  });
}

/** Send the true emotion of a face, by its place in the answer; 0 is the largest, or the whole picture. */
export function feedback(id, face, emotion) {
  return json("feedback", {
    method: "POST",
    body: JSON.stringify({ id, face, emotion }),
    type: "application/json",
  });
}

export const labels = () => json("labels");
export const nextLabels = () => json("labels/next");
export const labelPicture = async (id) => (await asked(`labels/${encodeURIComponent(id)}/picture`)).blob();
export const label = (id, given) =>
  json("labels", { method: "POST", body: JSON.stringify({ id, label: given }), type: "application/json" });
export const withdrawLabel = (id) => asked(`labels/${encodeURIComponent(id)}/mine`, { method: "DELETE" });

/** A stream of frames; a page cannot set headers of a WebSocket, so its key goes as a subprotocol. */
export function openStream() {
  const address = new URL("stream", document.baseURI);
  address.protocol = address.protocol.replace("http", "ws");
  const protocols = key.get() ? ["mien.v1", `mien.key.${key.get()}`] : ["mien.v1"];
  return new WebSocket(address, protocols);
}
