// Titles and texts of problems, with what to do.

import { bytes, number } from "./format.js";

const FORMATS = "JPEG, PNG, WebP and BMP are read.";
const SMALLER = "A smaller copy shows the same face.";

const TABLE = {
  "payload-too-large": (p, f) => [
    "That picture is too large",
    `${f.limits ? allowedBytes(f) : sentence(p.detail)} ${SMALLER}`,
  ],
  "image-too-large": (p, f) => [
    "That picture has too many pixels",
    `${f.limits ? `A picture may have ${number(f.limits.pixels / 1e6, 2)} million.` : sentence(p.detail)} ${SMALLER}`,
  ],
  "image-format-unknown": () => [
    "That is not a picture",
    `The file is of a kind that is not read here. ${FORMATS}`,
  ],
  "image-unusable": (p) => ["That picture cannot be read", `${sentence(p.detail)} ${FORMATS}`],
  "queue-full": () => [
    "Busy right now",
    "More pictures are waiting than can be looked at. Nothing is wrong with yours.",
  ],
  "bodies-full": () => [
    "Busy right now",
    "Too many pictures are being sent at this moment. Nothing is wrong with yours.",
  ],
  "streams-full": () => ["Busy right now", "All camera streams of the service are in use."],
  "deadline-passed": () => [
    "Busy right now",
    "The answer did not come in time. Nothing is wrong with your picture.",
  ],
  "not-ready": (p) => ["No model is ready yet", sentence(p.detail)],
  "rate-limited": () => ["Too many requests", "This service limits how often it may be asked."],
  unauthorized: (p) => [
    "A key is needed",
    /not known/.test(p.detail)
      ? "The key is not known. Check it, or ask for one."
      : "This service answers only requests with a key.",
  ],
  forbidden: (p) => ["Not answered from here", sentence(p.detail)],
  "store-unavailable": () => ["Not stored", "The database cannot be reached at the moment."],
  "face-detector-unusable": (p) => ["Faces cannot be looked for", sentence(p.detail)],
  "body-too-slow": () => [
    "The picture did not arrive in time",
    "The connection is slow. A smaller copy gets through.",
  ],
  "body-incomplete": () => ["The connection broke off", "The picture did not arrive whole."],
  unreachable: () => ["The service cannot be reached", "It may be restarting, or the connection is gone."],
  "not-found": (p) => ["It is not there", sentence(p.detail)],
  internal: (p) => [
    "Something went wrong in the service",
    `Its log has the reason${p.requestId ? ` under ${p.requestId}` : ""}.`,
  ],
};
/** Problems that a smaller copy of the picture may cure. */
const SHRINK = new Set(["payload-too-large", "image-too-large", "body-too-slow"]);

/** Problems that the same picture has each time. */
const LASTING = new Set(["image-format-unknown", "image-unusable", "content-unsupported", "bad-request"]);

/** Title and text of a problem; `facts` may have the limits of /about and the picture's size. */
export function inWords(problem, facts = {}) {
  const row = TABLE[problem.kind];
  const [title, text] = row
    ? row(problem, facts)
    : [problem.title || "That did not work", sentence(problem.detail || problem.message)];
  return {
    title,
    text,
    shrinks: SHRINK.has(problem.kind),
    needsKey: problem.kind === "unauthorized",
    lasting: LASTING.has(problem.kind),
  };
}

function allowedBytes({ limits, size }) {
  const own = size ? `; this one has ${bytes(size)}` : "";
  return `A picture may have ${bytes(limits.bytes)}${own}.`;
}

/** One sentence out of a detail such as "no model yet: the service is starting". */
export function sentence(text) {
  if (!text) return "";
  const plain = text.replaceAll("`", "");
  const begun = plain.charAt(0).toUpperCase() + plain.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}
