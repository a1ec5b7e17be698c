// The second tab: the live model, its metrics, its lineage and the model history.

import * as api from "./api.js";
import { h } from "./dom.js";
import { bytes, counted, dateTime, number, percent, score, titled, weightsInWords } from "./format.js";
import { hueOf } from "./colours.js";
import { rendered } from "./markdown.js";
import { Panel, absent, block, commitOf, facts, figures, hash, table } from "./tab_elements.js";
import { trials } from "./experiments.js";
import { sentence } from "./problem_texts.js";

/** Everything that is known of the live model. */
export class ModelTab extends Panel {
  title = "Model";

  async content() {
    const model = await api.model();
    const [card, history, shadow] = await Promise.all([
      model.live ? api.card() : null,
      optional(api.history()),
      api.shadow(),
    ]);
    return [
      heading(model, card),
      ...(card ? measured(card.metrics, model.live.contract.classes) : []),
      model.live
        ? h("div", { class: "pair block" }, expects(model.live), comesFrom(model))
        : following(model),
      ...trials(shadow, model.canary),
      switches(history),
      ...(card?.card ? [modelCard(card.card)] : []),
      api.key.get()
        ? ""
        : h(
            "p",
            { class: "fine block" },
            "As JSON: ",
            h("a", { href: "model" }, "model"),
            ", ",
            h("a", { href: "model/card" }, "card and metrics"),
            ", ",
            h("a", { href: "model/history" }, "history"),
            ", ",
            h("a", { href: "model/shadow" }, "shadow"),
            ".",
          ),
    ];
  }
}

/** Null without the database: the rest is still shown. */
const optional = (promise) =>
  promise.catch((problem) => {
    if (problem.kind === "unauthorized") throw problem;
    return null;
  });

function heading({ live, reason }, card) {
  if (!live)
    return h(
      "div",
      {},
      h("p", { class: "eyebrow" }, "Model"),
      h("h1", {}, "No model is live"),
      h("p", { class: "lead" }, sentence(reason)),
    );
  const title = card?.metrics?.title ?? live.architecture;
  return h(
    "div",
    {},
    h("p", { class: "eyebrow" }, "The live model"),
    h("h1", {}, `${title}, ${live.version === "local" ? "from a path" : `version ${live.version}`}`),
    h(
      "p",
      { class: "lead" },
      `${live.name} has answered since ${dateTime(live.since)}; `,
      `its training began from ${weightsInWords(live.weights)}.`,
    ),
  );
}

function measured(metrics, classes) {
  const test = metrics?.test;
  if (!test)
    return [
      h(
        "div",
        { class: "block" },
        absent("The model has no metrics, so its quality is unknown here."),
      ),
    ];
  const interval = (low, high) =>
    low === undefined ? null : `95\u202f% interval ${percent(low, 1)} to ${percent(high, 1)}`;
  return [
    figures([
      [percent(test.accuracy, 1), "accuracy on test pictures", interval(test.accuracy_low, test.accuracy_high)],
      [score(test.macro_f1), "macro-F1", "every emotion counted equally"],
      [percent(test.top2_accuracy, 1), "top-2 accuracy", counted(test.images, "test picture")],
      [percent(test.ece, 1), "calibration error", "mean distance of probability and accuracy"],
    ]),
    block(
      "Emotion by emotion",
      "Recall: share of an emotion that is found. Precision: share of its predictions that are correct.",
      perClass(metrics.classes, classes),
    ),
  ];
}

function perClass(scores, classes) {
  const rows = classes
    .filter((name) => scores[name])
    .map((name) => [
      h("span", { class: "dot", "data-hue": hueOf(name, classes) }, titled(name)),
      meter(scores[name].f1, hueOf(name, classes)),
      percent(scores[name].recall),
      percent(scores[name].precision),
      number(scores[name].support),
    ]);
  return h(
    "div",
    { class: "card panel" },
    table(
      "Emotion by emotion",
      [["emotion"], ["F1"], ["recall", "n"], ["precision", "n"], ["pictures", "n"]],
      rows,
    ),
  );
}

const meter = (share, hue) =>
  h(
    "span",
    { class: "with-meter" },
    h(
      "span",
      { class: "meter", "data-hue": hue, "aria-hidden": "true" },
      h("i", { style: { "--share": share } }),
    ),
    score(share),
  );

const DETECTORS = { haar: "Haar's cascade, which misses turned faces", yunet: "YuNet" };

function expects({ contract, size_bytes: size, architecture, face_detector: detector }) {
  const { input } = contract;
  const crop =
    input.crop === "face"
      ? `each face, cut out with ${percent(input.margin)} of its size added on every side`
      : "each face, cut out of the picture; the whole picture if one face fills it";
  return block(
    "What it expects",
    null,
    h(
      "div",
      { class: "card panel" },
      facts([
        ["architecture", architecture],
        ["emotions", contract.classes.join(", ")],
        [
          "input",
          `${input.width} × ${input.height} px, ${input.color === "gray" ? "shades of gray" : "colour"}`,
        ],
        ["the network gets", crop],
        ["faces are found by", DETECTORS[detector] ?? "no detector: looking for faces is switched off"],
        ["calibration", `temperature ${number(contract.temperature)}`],
        ["file", `${bytes(size)} of ONNX`],
      ]),
    ),
  );
}

function comesFrom({ live, following }) {
  const { lineage } = live;
  return block(
    "Where it comes from",
    null,
    h(
      "div",
      { class: "card panel" },
      facts([
        ["location", following.location],
        ["fetched from", lineage.source],
        ["MLflow run", hash(lineage.run_id)],
        ["git commit", commitOf(lineage)],
        ["dataset", hash(lineage.dataset)],
        ["data.dvc", hash(lineage.data_dvc)],
        ["sha256", hash(live.sha256)],
        ["registry", following.problem],
        ["note", following.warnings?.length ? following.warnings.join("; ") : null],
        [
          "refused",
          following.refused
            ? `version ${following.refused.version}, ${following.refused.step}: ${following.refused.reason}`
            : null,
        ],
      ]),
    ),
  );
}

function following({ following: status }) {
  return block(
    "Configured model",
    null,
    h(
      "div",
      { class: "card panel" },
      facts([
        ["location", status.location],
        ["registry", status.problem],
        [
          "refused",
          status.refused
            ? `version ${status.refused.version}, ${status.refused.step}: ${status.refused.reason}`
            : null,
        ],
      ]),
    ),
  );
}

function switches(history) {
  if (!history)
    return block("Model history", null, absent("The history cannot be read: the database is unreachable."));
  const rows = history.switches.map((each) => [
    dateTime(each.time),
    each.kind === "canary" ? "canary" : "live",
    versionsOf(each),
    each.reason,
    each.promoted_by ?? (each.kind === "live" && each.to_version !== "local" ? "unknown" : ""),
    signerOf(each),
  ]);
  return block(
    "Model history",
    "Every switch of every worker, the newest first.",
    rows.length
      ? h(
          "div",
          { class: "card panel" },
          table(
            "Switches of the model",
            [["when", "short"], ["what", "short"], ["version", "short"], ["why"], ["promoted by"], ["signed by", "short"]],
            rows,
            { stacked: true },
          ),
        )
      : absent("No switch yet."),
  );
}

/** Who signed the version that a switch led to; a claim that the service did not check is marked. */
function signerOf({ signature, signed_by: key }) {
  if (signature === "missing") return "not signed";
  if (signature === "trusted") return hash(key);
  if (signature === "unchecked") return h("span", {}, key ? hash(key) : "unreadable", ", not checked");
  return "unknown";
}

function versionsOf(each) {
  return `${each.from_version ?? "none"} → ${each.to_version ?? "none"}`;
}

function modelCard(text) {
  return block(
    "Model card",
    null,
    h(
      "details",
      { class: "fold" },
      h("summary", {}, "What it is for, what it is not for, and its limits"),
      h("div", { class: "card prose" }, rendered(text)),
    ),
  );
}
