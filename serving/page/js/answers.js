// The cards beside the picture: a face's emotion, a bar per class, feedback buttons, and the answer's lineage.

import { bars } from "./bars.js";
import { h, icon } from "./dom.js";
import { feedbackPanel } from "./feedback.js";
import { counted, ms, percent, titled } from "./format.js";
import { openLineage } from "./lineage.js";
import { cutOut } from "./picture.js";

const THUMB_PX = 112;
const PARTS = {
  queue: "waiting",
  decode: "decoding",
  faces: "finding faces",
  preprocess: "cutting out",
  inference: "the network",
};

/**
 * The answer on one picture.
 * @param answer of /explain, whose `faces` are what is shown: a picture without a face has itself as one.
 * @param picture that the thumbnails are cut out of; null when the browser cannot show it.
 */
export class Answers {
  constructor({ answer, picture, roundTripMs, onchoose, onproblem }) {
    this.answer = answer;
    this.cards = answer.faces.map((face, index) => this.card(face, index, picture, { onchoose, onproblem }));
    const { length } = answer.possible_faces;
    this.elements = [
      ...this.cards.map((card) => card.element),
      ...(length ? [h("p", { class: "fine" }, missed(length))] : []),
      provenance(answer, roundTripMs, onproblem),
    ];
  }

  /** Open the card of a face and close the others. */
  choose(index) {
    this.cards.forEach((card, each) => card.open(each === index));
  }

  card(face, index, picture, { onchoose, onproblem }) {
    const several = this.answer.faces.length > 1;
    const head = several
      ? h("button", { type: "button", class: "answer-head", onclick: () => onchoose(index) })
      : h("div", { class: "answer-head" });
    const thumb = picture ? cutOut(picture, face.box, THUMB_PX) : null;
    thumb?.setAttribute("aria-hidden", "true");
    const which = this.which(face, index);
    const number = several ? h("b", { class: "number", "aria-hidden": "true" }, String(index + 1)) : null;
    const noted = h("span", { class: "noted", hidden: true });
    const onstored = (emotion) => {
      noted.hidden = !several;
      noted.replaceChildren(icon("check"), `You said ${titled(emotion).toLowerCase()}`);
    };
    head.append(
      h("span", { class: "thumb" }, thumb, number),
      h(
        "span",
        {},
        h("span", { class: "emotion" }, said(face)),
        which ? h("span", { class: "which" }, which) : null,
        face.unfamiliar ? h("span", { class: "which" }, "Unlike the pictures the model learned from") : null,
        noted,
      ),
      h("span", { class: "probability" }, percent(face.probability)),
    );
    const body = h(
      "div",
      { class: "answer-body" },
      face.unfamiliar ? unfamiliar(face) : null,
      bars(face.probabilities),
      feedbackPanel({ id: this.answer.id, face, index, several, onstored, onproblem }),
    );
    const element = h(
      "article",
      { class: `card answer${face.unfamiliar ? " unfamiliar" : ""}`, "aria-label": `Face ${index + 1}` },
      head,
      body,
    );
    const open = (now) => {
      element.classList.toggle("open", now);
      body.hidden = !now;
      if (several) head.setAttribute("aria-expanded", String(now));
    };
    return { element, open };
  }

  which(face, index) {
    if (face.whole) return "the whole picture";
    if (this.answer.faces.length === 1) return null;
    return index === 0 ? `Face 1 of ${this.answer.faces.length}, the largest` : `Face ${index + 1}`;
  }
}

function unfamiliar(face) {
  // Beyond the validation pictures the share stays below 1, and must not be shown as "100 %".
  const share = face.novelty >= 0 && face.novelty <= 1 ? Math.floor(1000 * face.novelty) / 10 : null;
  return h(
    "p",
    { class: "fine" },
    share === null
      ? "This picture is unlike those the model learned from. Its answer may mean nothing."
      : `This picture is unlike those the model learned from: ${share}\u202f% of the pictures it was ` +
          "checked with are more usual. Its answer may mean nothing.",
  );
}

const said = (face) => (face.emotion ? titled(face.emotion) : "Unsure");

/** One sentence for screen readers. */
export function spoken(answer) {
  const parts = answer.faces
    .slice(0, 5)
    .map((face) => {
      const usual = `${said(face)}, ${Math.round(face.probability * 100)} percent`;
      return face.unfamiliar ? `${usual}, unlike the pictures the model learned from` : usual;
    });
  const more = answer.faces.length > 5 ? ` and ${answer.faces.length - 5} more` : "";
  const head = answer.faces[0].whole
    ? "No face was found. The whole picture"
    : counted(answer.faces.length, "face");
  const { length } = answer.possible_faces;
  return `${head}: ${parts.join("; ")}${more}.${length ? ` ${missed(length)}` : ""}`;
}

/** A hint that faces may have been missed. */
const missed = (count) =>
  count === 1
    ? "A face may have been missed: another place, in a dashed box, looks somewhat like one."
    : `Faces may have been missed: ${count} other places, in dashed boxes, look somewhat like one.`;

function provenance(answer, roundTripMs, onproblem) {
  const { model, timings_ms: timings } = answer;
  const rows = Object.entries(PARTS)
    .filter(([name]) => timings[name] > 0)
    .flatMap(([name, words]) => [h("dt", {}, words), h("dd", {}, ms(timings[name]))]);
  return h(
    "div",
    {},
    h(
      "p",
      { class: "provenance" },
      h("span", {}, `Answered in ${ms(timings.total)}`),
      h("span", {}, `${model.name} ${versionOf(model)}`),
      model.canary ? h("span", {}, "from the canary") : null,
      h(
        "button",
        { type: "button", class: "plain", onclick: () => openLineage(answer.id, onproblem) },
        "Where this answer comes from",
      ),
    ),
    h(
      "details",
      { class: "timings" },
      h("summary", {}, "Time by step"),
      h("dl", {}, rows, h("dt", {}, "round trip"), h("dd", {}, ms(roundTripMs))),
    ),
  );
}

/** "version 3"; a model from a path is named by its file's hash. */
const versionOf = (model) =>
  model.version === "local" ? model.sha256.slice(0, 8) : `version ${model.version}`;
