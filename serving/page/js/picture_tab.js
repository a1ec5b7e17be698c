// The first tab: a picture in, its faces out.

import { Answers, spoken } from "./answers.js";
import * as api from "./api.js";
import { announce, h } from "./dom.js";
import { choices, dropZone } from "./upload.js";
import { message, problemMessage, countdown } from "./messages.js";
import { Photo, looked } from "./photo.js";
import { bitmapOf, pictureIn, smallerCopy } from "./picture.js";
import { withRetries } from "./retry.js";

/** Owns the stage and the cards beside it. */
export class PictureTab {
  /**
   * @param facts gives what /about says, `examples` the drawn faces that can be tried.
   * @param oncamera starts the camera; `onsend` is called for every picture, `onanswer` for every answer.
   */
  constructor({ area, stage, side, facts, examples, oncamera, onsend, onanswer }) {
    Object.assign(this, { area, stage, side, facts, examples, oncamera, onsend, onanswer });
    this.running = null;
    this.entrance = {
      onpick: () => this.pick(),
      oncamera,
      onexample: (example) => this.sendExample(example),
    };
    this.input = this.fileInput();
    area.append(this.input);
    this.listen();
    this.reset();
  }

  fileInput() {
    return h("input", {
      type: "file",
      accept: "image/jpeg,image/png,image/webp,image/bmp",
      class: "unseen",
      tabindex: "-1",
      "aria-label": "Photo",
      onchange: () => this.chosen(),
    });
  }

  listen() {
    document.addEventListener("paste", (event) => this.given(event, event.clipboardData));
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      this.dragged(false);
      this.given(event, event.dataTransfer);
    });
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      this.dragged(true);
    });
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) this.dragged(false);
    });
  }

  dragged(over) {
    this.area.classList.toggle("dragging", over);
  }

  given(event, transfer) {
    const file = pictureIn(transfer);
    const away = this.area.closest("[role=tabpanel]").hidden;
    if (!file || away) return;
    event.preventDefault();
    this.send(file);
  }

  /** The empty stage. */
  reset() {
    this.stop();
    this.area.dataset.state = "empty";
    this.side.replaceChildren();
    this.stage.replaceChildren(dropZone({ ...this.entrance, examples: this.examples() }));
  }

  /** Break off what is being asked; its answer would come too late. */
  stop() {
    this.running?.abort();
  }

  pick() {
    this.input.click();
  }

  chosen() {
    const [file] = this.input.files;
    // The same file can be chosen again.
    this.input.value = "";
    if (file) this.send(file);
  }

  async sendExample({ name, address }) {
    const response = await fetch(address);
    this.send(new File([await response.blob()], name, { type: "image/jpeg" }));
  }

  /** Show a picture and ask what its faces show. */
  async send(file) {
    this.stop();
    this.onsend();
    const running = new AbortController();
    this.running = running;
    this.area.dataset.state = "asked";
    const bitmap = await bitmapOf(file);
    if (running.signal.aborted) return;
    this.photo = new Photo(bitmap);
    this.under = h("div", { class: "under" }, choices(this.entrance));
    this.side.replaceChildren();
    this.stage.replaceChildren(this.photo.element, this.under);
    try {
      const { answer, took } = await this.ask(file, running.signal);
      if (!running.signal.aborted) this.show(answer, bitmap, took);
    } catch (problem) {
      if (problem.name !== "AbortError") this.fail(problem, file);
    }
  }

  ask(file, signal) {
    const limit = this.facts().limits?.bytes;
    // Known beforehand: the connection need not carry it.
    if (limit && file.size > limit) throw new api.Problem({ kind: "payload-too-large", status: 413 });
    const once = async () => {
      this.side.replaceChildren();
      const begun = performance.now();
      const answer = await api.explain(file, { signal });
      return { answer, took: performance.now() - begun };
    };
    return withRetries(once, (problem, seconds) => countdown(this.side, problem, seconds, { signal }));
  }

  /** What went wrong, beside the picture or, when nothing can be seen of it, beside the way to another one. */
  fail(problem, file) {
    if (!(problem instanceof api.Problem)) throw problem;
    this.area.dataset.state = "failed";
    this.photo.rest();
    if (!this.photo.seen) {
      this.stage.replaceChildren(dropZone({ ...this.entrance, examples: this.examples() }));
    }
    this.side.replaceChildren(
      problemMessage(problem, {
        facts: { ...this.facts(), size: file.size },
        again: () => this.send(file),
        shrink: () => this.sendSmaller(file),
        others: this.photo.seen ? [] : [["Another photo", () => this.pick()]],
      }),
    );
  }

  async sendSmaller(file) {
    const copy = await smallerCopy(file, this.facts().limits);
    if (copy) return this.send(copy);
    const actions = [["Another photo", () => this.pick()]];
    const text = "This browser cannot read the picture either.";
    this.side.replaceChildren(message({ title: "No smaller copy can be made", text, actions }));
  }

  show(answer, bitmap, roundTripMs) {
    const shown = { ...answer, faces: looked(answer) };
    this.area.dataset.state = "answered";
    const choose = (index) => {
      this.photo.choose(index);
      answers.choose(index);
    };
    const answers = new Answers({
      answer: shown,
      picture: bitmap,
      roundTripMs,
      onchoose: choose,
      onproblem: (problem, again) => this.tell(problem, again),
    });
    this.under.prepend(this.photo.show(shown, choose));
    this.side.replaceChildren(...(shown.faces[0].whole ? [noFace()] : []), ...answers.elements);
    choose(0);
    announce(spoken(shown));
    this.onanswer(answer);
  }

  /** A problem of something beside the answer, which stays. */
  tell(problem, again) {
    const shown = problemMessage(problem, {
      again: () => {
        shown.remove();
        again();
      },
    });
    this.side.querySelector(".message")?.remove();
    this.side.prepend(shown);
  }
}

function noFace() {
  return h(
    "p",
    { class: "note warn" },
    h("strong", {}, "No face was found. "),
    "So the whole picture was looked at, and the answer may mean nothing. ",
    "A face is found best from the front, upright, and not too small.",
  );
}
