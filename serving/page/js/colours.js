// Each emotion has its colour, wherever it shows. Names of other datasets take theirs by their place.

const KNOWN = {
  angry: "red",
  anger: "red",
  disgust: "olive",
  fear: "violet",
  happy: "amber",
  happiness: "amber",
  joy: "amber",
  neutral: "slate",
  sad: "blue",
  sadness: "blue",
  surprise: "teal",
  contempt: "pink",
};
const OTHERS = ["teal", "amber", "violet", "red", "blue", "olive", "pink", "slate", "brown", "green"];

/** Name of the colour of a class; `base.css` says what it looks like by day and by night. */
export function hueOf(name, classes) {
  if (classes.every((each) => each.toLowerCase() in KNOWN)) return KNOWN[name.toLowerCase()];
  return OTHERS[classes.indexOf(name) % OTHERS.length];
}
