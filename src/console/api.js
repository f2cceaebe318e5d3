/**
 * Speaks to the admin API, the public one and no other.
 *
 * `ask` sends a request and gives back `{ data, etag }`, or throws an [`ApiError`] that says what to do. Who is asking
 * is told by the session cookie, which scripts cannot read; a header of ours goes along with every request, which no
 * other site can make a browser send. Nothing is cached, and nothing that was sent is kept.
 */
import { signal } from './html.js';

/** Set when the server no longer knows the session. */
export const sessionLost = signal(false);

/** What went wrong: the server's own words, and where it concerns a field, by its JSON pointer. */
export class ApiError extends Error {
    constructor(problem) {
        super(problem.detail ?? problem.title ?? 'The request failed.');
        Object.assign(this, { status: 0, code: 'unknown', errors: [] }, problem);
    }

    /** What is wrong with one field, such as `/name`, or with what is below it. */
    of(pointer) {
        const about = (known) => known === pointer || known.startsWith(`${pointer}/`);
        return this.errors.find((part) => about(part.pointer))?.detail;
    }
}

/**
 * Sends a request. `body` is sent as JSON, `query` without what is empty. What the page asks by itself, without anybody
 * doing something, is told apart (`isBackground`), or an open page would keep a session alive for ever.
 */
export async function ask(method, path, { query, body, etag, once, signal: abort, isBackground } = {}) {
    const headers = { accept: 'application/json', 'x-keygate-console': isBackground ? 'background' : '1' };
    if (body !== undefined || method !== 'GET') headers['content-type'] = 'application/json';
    if (etag) headers['if-match'] = etag;
    if (once) headers['idempotency-key'] = once;
    const sent = body === undefined && method !== 'GET' && method !== 'DELETE' ? {} : body;
    let response;
    try {
        response = await fetch(path + search(query), {
            method,
            headers,
            body: sent === undefined ? undefined : JSON.stringify(sent),
            signal: abort,
            credentials: 'same-origin',
            redirect: 'error',
            cache: 'no-store',
        });
    } catch (error) {
        if (error.name === 'AbortError') throw error;
        throw new ApiError({
            code: 'unreachable',
            title: 'keygate does not answer',
            detail: 'keygate does not answer. See whether it is running and can be reached from here, then try again.',
        });
    }
    const text = await response.text();
    const data = parse(text);
    if (response.ok) return { data, etag: response.headers.get('etag') };
    if (response.status === 401 && (path !== '/v1/session' || method === 'GET')) sessionLost.value = true;
    throw new ApiError({
        detail: `keygate answered ${response.status}.`,
        ...data,
        status: response.status,
        retryAfter: Number(response.headers.get('retry-after')) || undefined,
    });
}

function parse(text) {
    try {
        return text ? JSON.parse(text) : null;
    } catch {
        return null;
    }
}

/** The part of an address behind the path. */
export function search(query = {}) {
    const kept = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== '');
    const text = new URLSearchParams(kept.map(([name, value]) => [name, String(value)])).toString();
    return text ? `?${text}` : '';
}

/** A word that makes sending a request twice harmless. */
export function onceWord() {
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
        byte.toString(16).padStart(2, '0')).join('');
}
