// The camera: every frame's faces, and the emotions of the last half minute.

import { Bars } from "./bars.js";
import { Boxes } from "./boxes.js";
import { announce, h, icon } from "./dom.js";
import { counted, ms, percent, titled } from "./format.js";
import { message, problemMessage } from "./messages.js";
import { drawn, jpeg } from "./picture.js";
import { Smooth } from "./smooth.js";
import { Stream } from "./stream.js";
import { Trace } from "./trace.js";

const FRAME_PX = 640;
const FRAME_QUALITY = 0.8;
const PHOTO_QUALITY = 0.92;
// Screen readers hear a change, and not more often than they can say it.
const SAY_EVERY_S = 4;
// A face that is lost for longer is not just between two frames.
const HINT_AFTER_S = 3;
const CAMERA = {
  NotAllowedError: [
    "The camera is not allowed",
    "Allow it for this page in the browser’s settings (at the address), or choose a photo.",
  ],
  NotFoundError: ["No camera was found", "Connect one, or choose a photo."],
  NotReadableError: [
    "The camera is busy",
    "Another program may be using it. Close that one, or choose a photo.",
  ],
  insecure: [
    "A camera needs a secure page",
    "Browsers give it to pages at https:// and at localhost only. A photo works here all the same.",
  ],
};

/** Owns stage and side while the camera runs. `onphoto` is given a still and ends it, `onstop` goes back. */
export class Camera {
  constructor({ area, stage, side, facts, onphoto, onstop, onanswer }) {
    Object.assign(this, { area, stage, side, facts, onphoto, onstop, onanswer });
  }

  async start() {
    this.end();
    this.stopped = false;
    this.area.dataset.state = "live";
    this.stage.replaceChildren(h("p", { class: "message calm", role: "status" }, "Waiting for the camera…"));
    this.side.replaceChildren();
    try {
      if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("", "insecure");
      this.camera = await navigator.mediaDevices.getUserMedia({
        audio: false,
        video: { facingMode: "user", width: { ideal: 640 }, height: { ideal: 480 } },
      });
    } catch (error) {
      return this.failed(error);
    }
    if (this.stopped) return this.release();
    await this.build();
    this.connect();
  }

  async build() {
    this.video = h("video", { playsinline: true, muted: true, "aria-label": "Your camera" });
    this.video.muted = true;
    this.video.srcObject = this.camera;
    this.boxes = new Boxes({ label: "Faces" });
    this.boxes.element.setAttribute("aria-hidden", "true");
    this.view = h("div", { class: "frame mirrored" }, this.video, this.boxes.element);
    this.notes = h("div");
    this.trace = new Trace();
    this.smooth = new Smooth();
    this.rate = h("p", { class: "provenance rate" });
    this.word = h("p", { class: "emotion" }, "…");
    this.hint = h(
      "p",
      { class: "fine", hidden: true },
      "Look straight at the camera, come a little closer, and let light fall on the face.",
    );
    this.faceAt = seconds();
    this.now = h("div", { class: "card now" }, this.word, this.hint);
    this.stage.replaceChildren(
      h("div", { class: "frame-holder" }, this.view),
      this.buttons(),
      this.trace.element,
    );
    this.side.replaceChildren(this.notes, this.now, this.rate);
    await this.video.play().catch(() => {});
    const { videoWidth: width, videoHeight: height } = this.video;
    this.view.style.setProperty("--aspect", ((width || 4) / (height || 3)).toFixed(4));
    this.clock = setInterval(() => this.trace.draw(seconds()), this.reduced() ? 1000 : 100);
  }

  buttons() {
    return h(
      "div",
      { class: "row" },
      h(
        "button",
        { type: "button", class: "button small primary", onclick: () => this.photo() },
        icon("camera"),
        "Take a picture",
      ),
      h("button", { type: "button", class: "button small", onclick: () => this.stop() }, "Stop the camera"),
    );
  }

  reduced() {
    return matchMedia("(prefers-reduced-motion: reduce)").matches;
  }

  connect() {
    this.canvas = document.createElement("canvas");
    this.times = [];
    this.stream = new Stream({
      grab: () => this.grab(),
      framesPerS: this.facts().stream?.frames_per_s,
      onanswer: (answer) => this.show(answer),
      onproblem: (problem) => this.note(problemMessage(problem)),
      onwait: (problem, wait) =>
        this.note(
          problemMessage(problem),
          h("p", { class: "fine" }, `The camera’s pictures are sent again in ${Math.ceil(wait)} s.`),
        ),
      onend: (problem) =>
        this.note(
          problemMessage(problem, {
            again: () => {
              this.notes.replaceChildren();
              this.connect();
            },
          }),
        ),
    });
    this.stream.open();
  }

  note(...elements) {
    this.notes.replaceChildren(...elements);
  }

  async grab() {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!width || this.video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return null;
    const scale = Math.min(1, FRAME_PX / Math.max(width, height));
    return jpeg(
      drawn(this.video, Math.round(width * scale), Math.round(height * scale), this.canvas),
      FRAME_QUALITY,
    );
  }

  show(answer) {
    const now = seconds();
    this.notes.replaceChildren();
    this.view.style.setProperty("--aspect", (answer.image.width / answer.image.height).toFixed(4));
    this.boxes.show(answer, { mirrored: true });
    this.tellRate(answer, now);
    if (!answer.probabilities) return this.showNoFace();
    this.faceAt = now;
    this.hint.hidden = true;
    this.now.classList.remove("no-face");
    this.now.classList.toggle("unfamiliar", answer.unfamiliar === true);
    const values = this.smooth.take(answer.probabilities, now);
    this.trace.add(values, now);
    if (!this.bars) {
      this.bars = new Bars(Object.keys(values));
      this.now.append(this.bars.element);
    }
    this.bars.show(values);
    const top = Object.keys(values).reduce((best, name) => (values[name] > values[best] ? name : best));
    this.word.textContent = titled(top);
    this.say(`${titled(top)}, ${percent(values[top])}`, top, now);
    this.onanswer(answer);
  }

  showNoFace() {
    this.now.classList.add("no-face");
    this.word.textContent = "No face";
    this.hint.hidden = seconds() - this.faceAt < HINT_AFTER_S;
    this.say("No face", "", seconds());
  }

  say(text, what, now) {
    if (what === this.said || now - (this.saidAt ?? -Infinity) < SAY_EVERY_S) return;
    [this.said, this.saidAt] = [what, now];
    announce(text);
  }

  tellRate(answer, now) {
    this.times = [...this.times.filter((time) => time > now - 3), now];
    const perS = this.times.length / Math.max(1, Math.min(3, now - this.times[0]));
    this.rate.replaceChildren(
      h("span", {}, `${Math.round(perS)} answers per second`),
      h("span", {}, `${ms(answer.timings_ms.total)} each`),
      h("span", {}, counted(answer.faces.length, "face")),
      h("span", {}, `${answer.model.name} ${answer.model.version === "local" ? "" : answer.model.version}`),
    );
  }

  /** Take a still picture and explain it. */
  async photo() {
    const still = drawn(this.video, this.video.videoWidth, this.video.videoHeight);
    this.onphoto(await jpeg(still, PHOTO_QUALITY));
  }

  stop() {
    this.end();
    this.onstop();
  }

  /** Release the camera and close the connection. */
  end() {
    this.stopped = true;
    clearInterval(this.clock);
    this.stream?.close();
    this.release();
    this.bars = null;
    this.said = this.saidAt = undefined;
  }

  release() {
    this.camera?.getTracks().forEach((track) => track.stop());
    this.camera = null;
  }

  failed(error) {
    const [title, text] = CAMERA[error.name] ?? [
      "The camera does not work",
      error.message || "The browser does not say why.",
    ];
    this.stage.replaceChildren(
      message({
        title,
        text,
        actions: [
          ["Back", () => this.stop()],
          ["Try again", () => this.start()],
        ],
      }),
    );
  }
}

const seconds = () => performance.now() / 1000;
