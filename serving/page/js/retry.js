// Again, after as long as the service says, for as long as it makes sense.

import { Problem } from "./api.js";

const MOST_TRIES = 5;
const LONGEST_S = 30;
// Without `Retry-After`: as MIEN's own 503 has it.
const DEFAULT_S = 1;

/** Runs `action` until it succeeds or fails for another reason than a passing one; `wait(problem, seconds)` waits. */
export async function withRetries(action, wait) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof Problem) || !error.passing || tries >= MOST_TRIES) throw error;
      // Later and later when the service names no time, and not all visitors in the same moment.
      const told = error.retryAfterS ?? DEFAULT_S;
      await wait(error, Math.min(LONGEST_S, told * (1 + (tries - 1) / 2) + Math.random() * 0.5));
    }
  }
}
