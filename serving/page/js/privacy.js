// What happens with a picture, out of what /about says.

import { days, percent } from "./format.js";

/** Two or three sentences. */
export function keptInWords({ kept }) {
  const numbers =
    `What is kept for ${days(kept.observations_days)}: numbers only – the answer, the network’s features of ` +
    `the face, its place, how bright and sharp the picture is.`;
  const sent = "It is sent to this service only, and processed in memory.";
  if (!kept.pictures_fraction) return `${sent} The picture itself is not kept. ${numbers}`;
  const which =
    kept.pictures_fraction >= 1
      ? "Every picture is kept"
      : `${percent(kept.pictures_fraction, kept.pictures_fraction < 0.01 ? 1 : 0)} of the pictures are kept`;
  return `${sent} ${which} for ${days(kept.pictures_days)}, and people with a key for it may look at them to label them. ${numbers}`;
}
