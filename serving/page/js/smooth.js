// Probabilities that do not jump: an exponential mean over time, independent of the frame rate.

// Shorter than a smile, longer than the flicker between two frames.
const TIME_CONSTANT_S = 0.7;
// After a pause nothing of the old is left.
const PAUSE_S = 3;

/** Smooths one face's probabilities. */
export class Smooth {
  constructor() {
    this.values = null;
    this.at = 0;
  }

  /** Take what was seen at `at` (seconds) and give what is shown. */
  take(probabilities, at) {
    const passed = at - this.at;
    const fresh =
      !this.values ||
      passed > PAUSE_S ||
      Object.keys(this.values).length !== Object.keys(probabilities).length;
    const weight = fresh ? 1 : 1 - Math.exp(-passed / TIME_CONSTANT_S);
    const before = this.values ?? {};
    this.values = Object.fromEntries(
      Object.entries(probabilities).map(([name, value]) => [
        name,
        (before[name] ?? value) * (1 - weight) + value * weight,
      ]),
    );
    this.at = at;
    return this.values;
  }
}
