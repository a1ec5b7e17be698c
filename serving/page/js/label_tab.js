// The fourth tab: one kept picture after the other gets a label by a person; keys and buttons do the same.

import * as api from "./api.js";
import { hueOf } from "./colours.js";
import { announce, byId, h } from "./dom.js";
import { counted, number, score, titled } from "./format.js";
import { labelHint } from "./label_hint.js";
import { problemMessage } from "./messages.js";
import { bitmapOf, drawn } from "./picture.js";
import { figures } from "./tab_elements.js";

const NOT_A_FACE = "not-a-face";
const SKIP = "skip";

/** Shows the next picture to label until none is left; `about` is what /about says to this visitor. */
export class LabelTab {
  constructor(place) {
    Object.assign(this, { place, about: {}, queue: [], done: [], summary: null, labelled: 0, busy: false });
    // Only while something in this tab has the focus (WCAG 2.1, 2.1.4): people who speak to their browser
    // would press keys by accident.
    place.addEventListener("keydown", (event) => this.key(event));
    byId("tab-label").addEventListener("click", () => {
      this.takesFocus = true;
    });
  }

  async show() {
    if (this.about.labels === false) return this.refuse();
    if (!this.work || this.refused) this.build();
    if (this.takesFocus) this.focus();
    this.takesFocus = false;
    if (!this.busy) await this.doing(() => this.next());
  }

  refuse() {
    Object.assign(this, { refused: true, shown: null, queue: [], done: [] });
    this.place.replaceChildren(labelHint(this.about));
  }

  focus() {
    this.work.focus({ preventScroll: true });
  }

  /** Replaces the content; the focus stays inside if it was, or keys would do nothing. */
  fill(...children) {
    const focused = this.work.contains(document.activeElement);
    this.work.replaceChildren(...children);
    if (focused) this.focus();
  }

  build() {
    this.refused = false;
    this.work = h("div", { class: "labelling", tabindex: "-1", role: "group", "aria-label": "Label a picture" });
    this.numbers = h("div", {});
    this.place.replaceChildren(
      h(
        "div",
        {},
        h("p", { class: "eyebrow" }, "Label"),
        h("h1", {}, "Which expression does this face show?"),
      ),
      this.work,
      this.numbers,
    );
  }

  /** Runs one step at a time; a refusal takes the picture's place and can be tried again. */
  async doing(step) {
    this.busy = true;
    this.work.setAttribute("aria-busy", "true");
    try {
      await step();
    } catch (problem) {
      if (!(problem instanceof api.Problem)) throw problem;
      this.shown = null;
      this.fill(problemMessage(problem, { again: () => this.doing(() => this.next()) }));
    } finally {
      this.busy = false;
      this.work.removeAttribute("aria-busy");
    }
  }

  async next() {
    while (true) {
      if (!this.queue.length) await this.refill();
      const task = this.queue[0];
      if (!task) return this.finish();
      const bitmap = await pictureOf(task);
      if (bitmap) return this.present(task, bitmap);
      this.queue.shift(); // deleted in the meantime
    }
  }

  async refill() {
    const [found, summary] = await Promise.all([api.nextLabels(), api.labels()]);
    Object.assign(this, { queue: found.tasks, labelled: found.labelled, summary });
  }

  present(task, bitmap) {
    const { width, height } = bitmap;
    if (this.shown !== String(task.classes)) {
      this.shown = String(task.classes);
      this.canvas = h("canvas", { role: "img", "aria-label": "The picture to label" });
      this.undoing = button("Undo", "u", { class: "button small", onclick: () => this.undo() });
      this.fill(
        h("div", { class: "frame-holder" }, this.canvas),
        h("div", { class: "labels-side" }, this.choices(task.classes)),
      );
    }
    drawn(bitmap, width, height, this.canvas);
    // A disabled button would keep the focus and swallow keys.
    if (!this.done.length && document.activeElement === this.undoing) this.focus();
    this.undoing.disabled = !this.done.length;
    this.count();
    if (this.queue[1]) pictureOf(this.queue[1]).catch(() => {}); // reported when it is its turn
  }

  choices(classes) {
    const { needed } = this.summary;
    return [
      h(
        "div",
        { class: "label-choices", role: "group", "aria-label": "Expressions" },
        classes.map((name, index) =>
          button(titled(name), index < 9 ? String(index + 1) : null, {
            class: "button",
            "data-hue": hueOf(name, classes),
            onclick: () => this.give(name),
          }),
        ),
      ),
      h(
        "div",
        { class: "row" },
        button("Not a face", "n", { class: "button small", onclick: () => this.give(NOT_A_FACE) }),
        button("Skip", "s", { class: "button small", onclick: () => this.give(SKIP) }),
        this.undoing,
      ),
      h(
        "p",
        { class: "fine" },
        "Skip what you cannot tell: it goes to somebody else. ",
        needed > 1 ? `A label counts once ${needed} people gave the same one. ` : "Every label counts. ",
        "What the model and other people say is hidden, so that it does not sway you.",
      ),
    ];
  }

  finish() {
    this.shown = null;
    const again = () => this.doing(() => this.next());
    const undo = h(
      "button",
      { type: "button", class: "button small", onclick: () => this.undo() },
      "Undo the last one",
    );
    this.fill(
      h(
        "div",
        { class: "absent" },
        h("p", {}, "Nothing is left for you to label. New pictures come with new answers."),
        h(
          "div",
          { class: "row" },
          h("button", { type: "button", class: "button small", onclick: again }, "Look again"),
          this.done.length ? undo : null,
        ),
      ),
    );
    this.count();
  }

  give(label) {
    const task = this.queue[0];
    if (this.busy || !this.shown || !task) return;
    this.doing(async () => {
      await api.label(task.id, label);
      this.queue.shift();
      this.done.push({ task, label });
      if (label !== SKIP) this.labelled += 1;
      announce(label === SKIP ? "Skipped." : `Labelled: ${wordsOf(label)}.`);
      await this.next();
    });
  }

  undo() {
    if (this.busy || !this.done.length) return;
    const { task, label } = this.done.at(-1);
    this.doing(async () => {
      await api.withdrawLabel(task.id);
      this.done.pop();
      this.queue.unshift(task);
      if (label !== SKIP) this.labelled -= 1;
      announce(`Undone: ${wordsOf(label)}.`);
      await this.next();
    });
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input")) return;
    const pressed = event.key.toLowerCase();
    const name = /^[1-9]$/.test(pressed) && this.queue[0]?.classes[Number(pressed) - 1];
    if (name) this.give(name);
    else if (pressed === "n") this.give(NOT_A_FACE);
    else if (pressed === "s") this.give(SKIP);
    else if (pressed === "u") this.undo();
    else return;
    event.preventDefault();
  }

  count() {
    const { pictures, alpha, labels, labellers } = this.summary;
    this.numbers.replaceChildren(
      figures([
        [number(this.labelled), "labelled by you", null],
        [number(pictures.agreed), "agreed on", `of ${counted(pictures.agreed + pictures.open + pictures.disputed, "picture")} with labels`],
        [number(pictures.disputed), "disputed", "people gave different labels"],
        [
          alpha === null ? "–" : score(alpha),
          "agreement",
          alpha === null
            ? "known once two people labelled the same pictures"
            : `Krippendorff’s alpha of ${counted(labels, "label")} by ${counted(labellers, "person", "people")}; 1 is perfect, 0 is chance`,
        ],
      ]),
    );
  }
}

/** A button with the key that does the same; the key is not part of its name. */
function button(words, key, attributes) {
  const hint = key ? h("kbd", { "aria-hidden": "true" }, key) : null;
  return h("button", { type: "button", "aria-keyshortcuts": key, ...attributes }, h("span", {}, words), hint);
}

/** A task's picture, asked for once; null when it is not kept any more. */
function pictureOf(task) {
  task.bitmap ??= api.labelPicture(task.id).then(bitmapOf, (problem) => {
    task.bitmap = null;
    if (problem.status === 404) return null;
    throw problem;
  });
  return task.bitmap;
}

const wordsOf = (label) => (label === NOT_A_FACE ? "not a face" : titled(label).toLowerCase());
