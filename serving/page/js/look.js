// The first tab: a picture in, its faces out.

import { Answers, spoken } from "./answers.js";
import * as api from "./api.js";
import { Boxes } from "./boxes.js";
import { announce, h, icon } from "./dom.js";
import { counted } from "./format.js";
import { heatCanvas } from "./heat.js";
import { countdown, message, problemMessage } from "./messages.js";
import { bitmapOf, drawn, pictureIn, smallerCopy } from "./picture.js";
import { withRetries } from "./retry.js";

// Longest side, px, of what is drawn: enough for the largest screen the stage has.
const DRAWN_PX = 1400;
// A small picture is enlarged so many times at most; beyond it there is nothing more to see.
const ENLARGED = 4;
const FIRST_HEAT = 45;

/** Owns the stage and the cards beside it. */
export class Look {
  constructor({ area, stage, side, facts, examples, oncamera, onsend, onanswer }) {
    Object.assign(this, { area, stage, side, facts, examples, oncamera, onsend, onanswer });
    this.running = null;
    this.input = h("input", { type: "file", accept: "image/jpeg,image/png,image/webp,image/bmp", class: "unseen", tabindex: "-1", "aria-label": "Photo", onchange: () => this.chosen() });
    area.append(this.input);
    this.listen();
    this.reset();
  }

  listen() {
    document.addEventListener("paste", (event) => {
      const file = pictureIn(event.clipboardData);
      if (file && !this.away()) { event.preventDefault(); this.send(file); }
    });
    const over = (on) => this.area.classList.toggle("dragging", on);
    document.addEventListener("dragover", (event) => { event.preventDefault(); over(true); });
    document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) over(false); });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      over(false);
      const file = pictureIn(event.dataTransfer);
      if (file && !this.away()) this.send(file);
    });
  }

  /** Whether another tab is shown. */
  away() { return this.area.closest("[role=tabpanel]").hidden; }

  /** The empty stage. */
  reset() {
    this.stop();
    this.area.dataset.state = "empty";
    this.side.replaceChildren();
    this.stage.replaceChildren(this.dropZone());
  }

  /** Break off what is being asked; its answer would come too late. */
  stop() { this.running?.abort(); }

  pick() { this.input.click(); }

  chosen() {
    const [file] = this.input.files;
    // The same file can be chosen again.
    this.input.value = "";
    if (file) this.send(file);
  }

  dropZone() {
    const emblem = icon("face");
    emblem.classList.add("emblem");
    return h("div", { class: "drop" }, emblem, h("h2", {}, h("span", { class: "with-mouse" }, "Drop a photo here"), h("span", { class: "with-fingers" }, "Show it a photo")),
      h("p", { class: "soft with-mouse" }, "or paste one with ", h("kbd", {}, "Ctrl"), " ", h("kbd", {}, "V")), this.choices(true), this.exampleRow());
  }

  choices(first = false) {
    return h("div", { class: "row" },
      h("button", { type: "button", class: `button${first ? " primary" : " small"}`, onclick: () => this.pick() }, icon("photo"), first ? "Choose a photo" : "Another photo"),
      h("button", { type: "button", class: `button${first ? "" : " small"}`, onclick: () => this.oncamera() }, icon("camera"), first ? "Use the camera" : "Camera"));
  }

  exampleRow() {
    const examples = this.examples();
    if (!examples.length) return null;
    return h("div", { class: "examples" }, h("p", { class: "fine" }, "or try a drawn face"),
      h("div", { class: "row" }, examples.map(({ name, address }) =>
        h("button", { type: "button", onclick: () => this.sendExample(name, address) }, h("img", { src: address, alt: name, width: 56, height: 56 })))));
  }

  async sendExample(name, address) {
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
    this.side.replaceChildren();
    this.stage.replaceChildren(...this.frame(bitmap));
    try {
      const limit = this.facts().limits?.bytes;
      // Known beforehand: the connection need not carry it.
      if (limit && file.size > limit) throw new api.Problem({ kind: "payload-too-large", status: 413 });
      const { answer, took } = await this.ask(file, running.signal);
      if (!running.signal.aborted) this.show(answer, bitmap, took);
    } catch (problem) {
      if (problem.name !== "AbortError") this.fail(problem, file);
    }
  }

  ask(file, signal) {
    return withRetries(async () => {
      this.side.replaceChildren();
      const begun = performance.now();
      const answer = await api.explain(file, { signal });
      return { answer, took: performance.now() - begun };
    }, (problem, seconds) => countdown(this.side, problem, seconds, { signal }));
  }

  /** What went wrong, beside the picture or in its place. */
  fail(problem, file) {
    if (!(problem instanceof api.Problem)) throw problem;
    this.area.dataset.state = "failed";
    this.stage.querySelector(".working")?.remove();
    // Nothing can be seen of it: the stage is there for another one.
    if (!this.shown) this.stage.replaceChildren(this.dropZone());
    const again = () => this.send(file);
    const facts = { ...this.facts(), size: file.size };
    const shrink = () => this.sendSmaller(file);
    const others = this.shown ? [] : [["Another photo", () => this.pick()]];
    this.side.replaceChildren(problemMessage(problem, { facts, again, shrink, others }));
  }

  async sendSmaller(file) {
    const copy = await smallerCopy(file, this.facts().limits);
    if (copy) return this.send(copy);
    this.side.replaceChildren(message({ title: "No smaller copy can be made", text: "This browser cannot read the picture either.", actions: [["Another photo", () => this.pick()]] }));
  }

  frame(bitmap) {
    this.shown = bitmap !== null;
    const height = bitmap?.height ?? 3;
    const width = bitmap?.width ?? 4;
    const scale = bitmap ? Math.min(1, DRAWN_PX / Math.max(width, height)) : 0;
    this.picture = bitmap ? drawn(bitmap, Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))) : h("canvas");
    this.picture.classList.add("picture");
    this.picture.setAttribute("role", "img");
    this.picture.setAttribute("aria-label", bitmap ? "Your photo" : "A photo that this browser cannot show");
    this.view = h("div", { class: "frame", style: { "--aspect": (width / height).toFixed(4), "--most": bitmap ? `${width * ENLARGED}px` : "100%" } }, this.picture, h("div", { class: "working" }));
    this.under = h("div", { class: "under" }, this.choices());
    return [h("div", { class: "frame-holder" }, this.view), this.under];
  }

  show(answer, bitmap, roundTripMs) {
    const shown = { ...answer, faces: looked(answer) };
    this.area.dataset.state = "answered";
    this.view.querySelector(".working")?.remove();
    const boxes = new Boxes({ label: "Faces", onchoose: (index) => choose(index) });
    const answers = new Answers({
      answer: shown, picture: bitmap, roundTripMs, onchoose: (index) => choose(index),
      onproblem: (problem, again) => this.side.prepend(problemMessage(problem, { again: () => { this.side.querySelector(".message")?.remove(); again(); } })),
    });
    const choose = (index) => {
      boxes.show(shown, { chosen: index });
      answers.choose(index);
    };
    this.view.append(heatLayer(shown), boxes.element);
    this.picture.setAttribute("aria-label", shown.faces[0].whole ? "Your photo, without a face that was found" : `Your photo, ${counted(shown.faces.length, "face")}`);
    this.under.prepend(this.heatControl());
    this.side.replaceChildren(...(shown.faces[0].whole ? [noFace()] : []), ...answers.elements);
    choose(0);
    announce(spoken(shown));
    this.onanswer(answer);
  }

  heatControl() {
    const output = h("output", { for: "heat" });
    const range = h("input", { type: "range", id: "heat", min: 0, max: 100, step: 5, value: this.heat ?? FIRST_HEAT });
    const apply = () => {
      this.heat = Number(range.value);
      output.textContent = `${range.value}\u202f%`;
      range.setAttribute("aria-valuetext", `${range.value} percent`);
      this.view.style.setProperty("--heat", this.heat / 100);
      this.view.style.setProperty("--gray", Math.min(1, this.heat / 60));
    };
    range.addEventListener("input", apply);
    apply();
    return h("div", { class: "heat-control" }, h("label", { for: "heat" }, "Where it looked"), range, output);
  }
}

/** What was looked at: the faces, or without one the whole picture, as though it were one. */
function looked(answer) {
  if (answer.faces.length) return answer.faces;
  const { emotion, probability, probabilities, heatmap, area, image } = answer;
  return [{ emotion, probability, probabilities, heatmap, area, box: { left: 0, top: 0, ...image }, whole: true }];
}

function heatLayer(answer) {
  const { width, height } = answer.image;
  const scale = Math.min(1, DRAWN_PX / Math.max(width, height));
  const canvas = h("canvas", { class: "heat", "aria-hidden": "true" });
  Object.assign(canvas, { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) });
  const context = canvas.getContext("2d");
  for (const { heatmap, area } of answer.faces) {
    if (heatmap) context.drawImage(heatCanvas(heatmap), area.left * scale, area.top * scale, area.width * scale, area.height * scale);
  }
  return canvas;
}

function noFace() {
  return h("p", { class: "note warn" }, h("strong", {}, "No face was found. "), "So the whole picture was looked at, and the answer may mean nothing. A face is found best from the front, upright, and not too small.");
}
