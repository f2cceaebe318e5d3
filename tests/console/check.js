/**
 * A list of checks, in the order in which they were written down.
 */
export const checks = [];

/** Writes down a check. Its name is the promise that it tests. */
export function check(name, run) {
    checks.push({ name, run });
}
