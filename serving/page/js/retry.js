// Again, after as long as the service says, for as long as it makes sense.

import { Problem } from "./api.js";

const MOST_TRIES = 5;
// Nobody waits for longer before a page.
const LONGEST_S = 60;
// Without `Retry-After`: as MIEN's own 503 has it.
const DEFAULT_S = 1;

/** Runs `action` until it succeeds or fails for another reason than a passing one; `wait(problem, seconds)` waits. */
export async function withRetries(action, wait) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof Problem) || !error.passing || tries >= MOST_TRIES) throw error;
      const told = error.retryAfterS ?? DEFAULT_S;
      if (told > LONGEST_S) throw error;
      // Never sooner than told, later and later, and not all visitors in the same moment.
      await wait(error, told * (1 + (tries - 1) / 2) + Math.random() * 0.5);
    }
  }
}
