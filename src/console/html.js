/**
 * What every screen is written with: templates, state, effects.
 *
 * One door to the vendored libraries, so that no other module names them. `html` makes elements of a template; what is
 * put into one is text, never markup, so that a name such as `<img onerror=..>` is shown and does nothing. Nothing here
 * or elsewhere in the console uses `innerHTML`.
 */
import { h, render, Fragment } from './vendor/preact.js';
import htm from './vendor/htm.js';

export const html = htm.bind(h);
export { render, Fragment };
export { useState, useEffect, useLayoutEffect, useRef, useMemo, useCallback, useId } from './vendor/hooks.js';
export { signal, computed, effect, useSignal } from './vendor/signals.js';
