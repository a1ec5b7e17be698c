// Frames over a WebSocket, as fast as they are answered; it comes back by itself when it breaks off.

import * as api from "./api.js";

// One is being answered while the next is on its way.
const IN_FLIGHT = 2;
const MOST_FPS = 15;
const LONGEST_WAIT_MS = 15_000;
// RFC 6455, 7.4.1, and the IANA registry it founded.
const TOO_BIG = 1009;
const TRY_AGAIN_LATER = 1013;

/** Sends what `grab` gives (a promise of a file, or null) and reports answers, waits and the end. */
export class Stream {
  constructor({ grab, framesPerS, onanswer, onproblem, onwait, onend }) {
    Object.assign(this, { grab, onanswer, onproblem, onwait, onend });
    this.pauseMs = 1000 / Math.min(MOST_FPS, framesPerS ?? MOST_FPS);
    this.faces = "all";
    this.failures = 0;
    this.problem = null;
  }

  open() {
    this.sent = 0;
    this.answered = 0;
    this.opened = false;
    this.socket = api.openStream();
    this.socket.onopen = () => {
      this.opened = true;
      this.socket.send(JSON.stringify({ faces: this.faces }));
      this.pump();
    };
    this.socket.onmessage = ({ data }) => this.take(JSON.parse(data));
    this.socket.onclose = (event) => this.closed(event);
  }

  /** For good. */
  close() {
    this.done = true;
    clearTimeout(this.timer);
    this.socket?.close(1000);
  }

  async pump() {
    if (this.done || this.socket.readyState !== WebSocket.OPEN) return;
    const socket = this.socket;
    if (this.sent - this.answered < IN_FLIGHT && !document.hidden) {
      const frame = await this.grab();
      if (frame && socket.readyState === WebSocket.OPEN) {
        socket.send(frame);
        this.sent += 1;
      }
    }
    if (socket === this.socket) this.timer = setTimeout(() => this.pump(), this.pauseMs);
  }

  take(body) {
    if (this.done) return;
    if (body.frame) this.answered = body.frame;
    if (!("type" in body)) {
      this.failures = 0;
      return this.onanswer(body);
    }
    const problem = asProblem(body);
    // A service without a face detector classifies the whole picture.
    if (problem.kind === "bad-request" && this.faces === "all") {
      this.faces = "auto";
      return this.socket.send(JSON.stringify({ faces: this.faces }));
    }
    this.problem = body.frame ? null : problem;
    this.onproblem(problem);
  }

  async closed(event) {
    clearTimeout(this.timer);
    if (this.done) return;
    const problem = this.problem ?? (await this.reason(event));
    this.problem = null;
    if (this.done) return;
    if (problem.kind === "stream-idle") return this.wake();
    if (event.code === TOO_BIG || !(problem.passing || problem.kind === "unreachable")) {
      this.done = true;
      return this.onend(problem);
    }
    this.failures += 1;
    const seconds =
      Math.min(LONGEST_WAIT_MS, 1000 * (problem.retryAfterS ?? 2 ** (this.failures - 1))) / 1000;
    this.onwait(problem, seconds);
    this.timer = setTimeout(() => this.open(), seconds * 1000);
  }

  /** Nothing was sent while the tab was hidden: reopen once it is visible. */
  wake() {
    if (!document.hidden) return this.open();
    document.addEventListener(
      "visibilitychange",
      () => {
        if (!this.done) this.wake();
      },
      { once: true },
    );
  }

  /** A browser does not say why a handshake was refused; a plain request to the same service does. */
  async reason(event) {
    if (event.code === TRY_AGAIN_LATER)
      return new api.Problem({ kind: "streams-full", status: 503, detail: event.reason });
    if (this.opened) return new api.Problem({ kind: "unreachable" });
    try {
      await api.model();
    } catch (problem) {
      return problem;
    }
    return new api.Problem({ kind: "unreachable" });
  }
}

function asProblem({ type, status, title, detail, request_id: requestId }) {
  return new api.Problem({
    kind: String(type).replace("urn:mien:problem:", ""),
    status,
    title,
    detail,
    requestId,
  });
}
