// Other models beside the live one: a shadow that is only compared, a canary that answers a share.

import { h } from "./dom.js";
import { dateTime, ms, number, percent, score, titled } from "./format.js";
import { hueOf } from "./colours.js";
import { absent, block, facts, figures, table } from "./tab_elements.js";
import { sentence } from "./problem_texts.js";

/** What is known of both. */
export function trials(shadow, canary) {
  const parts = [
    block(
      "The shadow",
      "A second model that classifies a sample of the same pictures; its answers are only compared.",
      ...shadowed(shadow),
    ),
  ];
  if (canary) {
    parts.push(
      block(
        "The canary",
        "A candidate model that answers a share of the requests.",
        h(
          "div",
          { class: "card panel" },
          facts([
            [
              "candidate",
              canary.model ? `${canary.model.name} version ${canary.model.version}` : canary.location,
            ],
            ["share", percent(canary.share, 1)],
            ["state", canary.state],
            ["why", canary.reason],
          ]),
        ),
      ),
    );
  }
  return parts;
}

const nameOf = ({ model, location }) => (model ? `${model.name} version ${model.version}` : location);

function shadowed(shadow) {
  if (!shadow.enabled)
    return [absent("Off: no second model is being compared. MIEN_SHADOW_MODEL names one.")];
  const { report } = shadow;
  const state = shadow.reason
    ? [absent(`Nothing is compared at the moment. ${sentence(shadow.reason)}`)]
    : [];
  if (!report?.compared)
    return [
      ...state,
      absent(
        `${nameOf(shadow)} looks at ${percent(shadow.fraction)} of the pictures and has compared none yet.`,
      ),
    ];
  const names = Object.keys(report.emotions);
  const rows = names.map((name) => [
    h("span", { class: "dot", "data-hue": hueOf(name, names) }, titled(name)),
    number(report.emotions[name].compared),
    percent(report.emotions[name].agreement),
    instead(name, report.emotions[name].shadow),
  ]);
  const { live, shadow: other } = report.latency_ms;
  return [
    ...state,
    figures([
      [
        percent(report.agreement, 1),
        "agreement",
        `version ${report.shadow.version} against version ${report.live.version}`,
      ],
      [score(report.kappa), "Cohen’s kappa", "agreement beyond chance"],
      [number(report.compared), "pictures compared", `since ${dateTime(report.since)}`],
      [
        other ? ms(other.p50) : "–",
        "median per picture",
        live ? `the live model takes ${ms(live.p50)}` : null,
      ],
    ]),
    h(
      "div",
      { class: "card panel block" },
      table(
        "Agreement by emotion",
        [["the live model says"], ["pictures", "n"], ["the shadow agrees", "n"], ["or says"]],
        rows,
      ),
    ),
  ];
}

function instead(name, said) {
  const others = Object.entries(said)
    .filter(([each, count]) => each !== name && count)
    .sort(([, a], [, b]) => b - a);
  return (
    others
      .slice(0, 3)
      .map(([each, count]) => `${each} ${count}`)
      .join(", ") || "–"
  );
}
