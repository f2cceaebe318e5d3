/**
 * The choice between dark, light, and what the system prefers.
 *
 * `theme.js` has applied what was chosen before; this changes it. `appearance` is read by whatever draws with colours
 * of its own (charts), which then draws again.
 */
import { signal } from './html.js';

const KEPT = 'keygate.theme';
const system = matchMedia('(prefers-color-scheme: dark)');

const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? 'dark' : 'light')) === 'dark';

/** `dark` or `light`, whichever is on the screen. */
export const appearance = signal(isDark() ? 'dark' : 'light');

/** Shows the other one, and keeps that for the next visit. What the system prefers anyway is not kept. */
export function switchAppearance() {
    const next = isDark() ? 'light' : 'dark';
    const isSystems = next === (system.matches ? 'dark' : 'light');
    if (isSystems) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
        if (isSystems) localStorage.removeItem(KEPT);
        else localStorage.setItem(KEPT, next);
    } catch {
        // A browser that keeps nothing shows the choice until the page is left.
    }
    appearance.value = next;
}

system.addEventListener('change', () => (appearance.value = isDark() ? 'dark' : 'light'));
