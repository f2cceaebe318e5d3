/**
 * Which screen is shown, and with which filters: both stand in the part of the address behind `#`.
 *
 * `#/keys?status=active` is the screen `/keys` with one filter. That part never leaves the browser, so that no name of
 * a client stands in a log on the way; and a reload, a bookmark or the back button leads to the same list. Secrets are
 * never put there: what may be one is sent in a body (see `pages/keys.js`).
 */
import { signal } from './html.js';

function read() {
    const text = location.hash.replace(/^#/, '') || '/';
    const cut = text.indexOf('?');
    const path = (cut < 0 ? text : text.slice(0, cut)).replace(/(.)\/+$/, '$1');
    const query = Object.fromEntries(new URLSearchParams(cut < 0 ? '' : text.slice(cut + 1)));
    return { path, parts: path.split('/').slice(1).map(decode), query };
}

function decode(part) {
    try {
        return decodeURIComponent(part);
    } catch {
        return part;
    }
}

/** `{path, parts, query}` of the screen that is shown. */
export const route = signal(read());
addEventListener('hashchange', () => (route.value = read()));

/** The address of a screen; filters that are empty are left out. */
export function address(path, query = {}) {
    const kept = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== '');
    const text = new URLSearchParams(kept.map(([name, value]) => [name, String(value)])).toString();
    return `#${path}${text ? `?${text}` : ''}`;
}

/** Shows another screen. */
export function go(path, query) {
    location.hash = address(path, query);
}

/** Changes some filters of this screen, in place: the back button leads to the screen before, not to each letter. */
export function filter(changes) {
    // As the address is now: what the last click did to it may not have been told yet.
    const { path, query } = read();
    history.replaceState(null, '', address(path, { ...query, ...changes }));
    route.value = read();
}

/** `/keys/` and an id that may hold anything. */
export const within = (path, id) => `${path}/${encodeURIComponent(id)}`;
