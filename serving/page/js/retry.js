// Retries of requests after the delay that the service asks for.

import { Problem } from "./api.js";

const MOST_TRIES = 5;
// Visitors do not wait longer for a page.
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
      const delay = error.retryAfterS ?? DEFAULT_S;
      if (delay > LONGEST_S) throw error;
      // Never before the requested delay, later with each try, and not all visitors at the same moment.
      await wait(error, delay * (1 + (tries - 1) / 2) + Math.random() * 0.5);
    }
  }
}
