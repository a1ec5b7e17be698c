// The third tab: whether recent pictures differ from those that the model was measured on.

import * as api from "./api.js";
import { columnCard, columnLegend, columnList, columnMeanings, columnName, timesThreshold } from "./columns.js";
import { h } from "./dom.js";
import { counted, dateTime, duration, percent, period, titled } from "./format.js";
import { Panel, absent, block, figures, table } from "./tab_elements.js";
import { sentence } from "./problem_texts.js";

const BEFORE_RETRAINING = "Look at the charts before anything is retrained.";
const VERDICTS = {
  drift: ["bad", "Drift detected"],
  "no drift": ["good", "No drift detected"],
  unknown: ["neutral", "No verdict yet"],
};

/** The verdict, each column, and how good the model seems now. */
export class DriftTab extends Panel {
  title = "Drift";

  async content() {
    const drift = await api.drift();
    const columns = Object.entries(drift.columns).sort(
      ([, a], [, b]) => timesThreshold(b) - timesThreshold(a),
    );
    return [
      h(
        "div",
        {},
        h("p", { class: "eyebrow" }, "Drift"),
        h("h1", {}, "Do recent pictures still resemble the test split?"),
        h(
          "p",
          { class: "lead" },
          "The service’s recent observations are compared with the test split: ",
          "pictures that were kept out of the live model’s training. ",
          "The model’s metrics hold only while the two are alike.",
        ),
      ),
      verdict(drift),
      ...(drift.quality ? [quality(drift)] : []),
      ...(columns.length ? [compared(columns, drift.descriptions)] : []),
      ...leftOut(drift),
    ];
  }
}

function verdict(drift) {
  const [kind, title] = VERDICTS[drift.verdict] ?? VERDICTS.unknown;
  const { window: seen, reference } = drift;
  return h(
    "div",
    { class: `verdict ${kind}`, role: "status" },
    h("strong", {}, title),
    h("p", {}, reason(drift)),
    seen
      ? h(
          "p",
          { class: "fine" },
          `${counted(seen.rows, "answer")}${seen.sampled ? ` drawn from ${seen.total}` : ""}, `,
          `${period(seen.since, seen.until)}, against `,
          `${counted(reference.rows, "picture")} of the test split, of ${counted(reference.people, "person", "people")}. `,
          `Computed ${duration(drift.age_s)} ago.`,
        )
      : null,
    progress(drift),
    drift.problem && drift.problem !== drift.reason
      ? h("p", { class: "fine" }, `There is no newer result. ${sentence(drift.problem)}`)
      : null,
    drift.computed_at && drift.verdict !== "unknown" ? report() : null,
  );
}

/** What is going on: a computation, or since when the facts above hold. */
function progress({ computing_s: computing, checked_s: checked, verdict: said, problem }) {
  const note = (text) => h("p", { class: "fine" }, text);
  if (computing !== null) {
    const begun = said === "unknown" ? "The computation began" : "The computation of a new result began";
    return note(`${begun} ${duration(computing)} ago. Answers go first, so it takes minutes on a busy machine.`);
  }
  return problem && checked !== null ? note(`Checked ${duration(checked)} ago.`) : null;
}

function reason({ verdict: said, reason: why, columns, descriptions }) {
  const moved = Object.keys(columns).filter((name) => columns[name].drifted);
  if (said === "drift")
    return `Farther from the test split than chance explains: ${columnList(moved, descriptions)}. ${BEFORE_RETRAINING}`;
  if (said === "no drift") return "No column is farther from the test split than chance explains.";
  return sentence(why ?? "it is being computed");
}

/** Evidently's page. A link cannot carry a key, so with one the page is fetched and handed over as a file. */
function report() {
  if (!api.key.get())
    return h(
      "p",
      {},
      h("a", { href: "drift/report", target: "_blank", rel: "noopener" }, "Evidently’s report"),
    );
  const fetched = async () => {
    const address = URL.createObjectURL(await api.driftReport());
    h("a", { href: address, download: "drift-report.html" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  };
  return h(
    "p",
    {},
    h("button", { type: "button", class: "plain", onclick: fetched }, "Download Evidently’s report"),
  );
}

function quality({ quality: { reference, feedback, estimated }, computed_at: computed }) {
  const interval = (measured) =>
    `95\u202f% interval ${percent(measured.accuracy_low)} to ${percent(measured.accuracy_high)}`;
  const doubted = (text) => (estimated.caveat ? `in doubt: see below; ${text}` : text);
  return block(
    "Accuracy now",
    `Measured on the pictures with feedback – people correct more readily than they confirm – ` +
      `and estimated from the model’s confidence.`,
    figures([
      [percent(reference.accuracy, 1), "on the test split", counted(reference.rows, "picture")],
      feedback
        ? [
            percent(feedback.accuracy, 1),
            "by feedback",
            `${counted(feedback.rows, "picture")}, ${interval(feedback)}`,
          ]
        : ["–", "by feedback", `there was none when this was computed, ${dateTime(computed)}`],
      [percent(estimated.atc, 1), "estimated", doubted("average thresholded confidence")],
      [
        percent(estimated.mean_confidence, 1),
        "mean confidence",
        doubted("the accuracy, if the model is calibrated"),
      ],
    ]),
    estimated.cbpe ? expectedOf(estimated) : null,
    estimated.caveat
      ? h("p", { class: "note warn" }, h("strong", {}, "Estimates in doubt. "), estimated.caveat)
      : null,
  );
}

/** What the probabilities lead to expect of each emotion. */
function expectedOf({ cbpe, caveat }) {
  const share = ({ value, low, high }) =>
    value === null ? "–" : `${percent(value)} (${percent(low)} to ${percent(high)})`;
  return h(
    "details",
    { class: "fold" },
    h("summary", {}, "Expected for each emotion"),
    h(
      "p",
      { class: "fine" },
      "From the probabilities alone, as if they were calibrated; in brackets what 95\u202f% of such windows have.",
      caveat ? " In doubt: see below." : "",
    ),
    table(
      "Expected for each emotion",
      [
        ["Emotion"],
        ["Recall", "n"],
        ["Precision", "n"],
      ],
      Object.entries(cbpe.emotions).map(([name, { recall, precision }]) => [
        titled(name),
        share(recall),
        share(precision),
      ]),
    ),
  );
}

function compared(columns, descriptions) {
  const names = columns.map(([name]) => name);
  return block(
    "Column by column",
    null,
    columnLegend(),
    h(
      "ul",
      { class: "columns" },
      columns.map(([name, column]) => columnCard(name, column, descriptions)),
    ),
    columnMeanings(names, descriptions),
  );
}

function leftOut({ left_out: columns, descriptions }) {
  const rows = Object.entries(columns).map(([name, why]) => `${columnName(name, descriptions)}: ${why}`);
  return rows.length ? [h("div", { class: "block" }, absent(`Not compared – ${rows.join("; ")}.`))] : [];
}
