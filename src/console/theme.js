/**
 * Dark or light, before anything is painted.
 *
 * A plain script in the head, since a module would run after the first paint and flash. Nothing is kept here but the
 * word `dark` or `light`; without one the system's preference holds.
 */
(() => {
    const kept = (() => {
        try {
            return localStorage.getItem('keygate.theme');
        } catch {
            return null;
        }
    })();
    if (kept === 'dark' || kept === 'light') document.documentElement.dataset.theme = kept;
})();
