/**
 * Who is signed in, what they may do, and how that ends.
 *
 * An admin token is shown once, for a session cookie that no script can read; the token itself is not kept. Whoever
 * leaves the console open and walks away is signed out after a while, with a warning a minute before. All tabs of a
 * browser count as one: work in one of them keeps the others.
 */
import { signal } from './html.js';
import { ApiError, ask, sessionLost } from './api.js';

/** `undefined` while nobody has asked, `null` for a stranger, else who it is. */
export const session = signal(undefined);
/** Why the last session ended, for the sign-in page. */
export const farewell = signal('');
/** Seconds until the sign-out, or nothing while somebody works. */
export const secondsLeft = signal(null);

const ORDER = ['viewer', 'developer', 'admin'];
const WARNING_SECONDS = 60;
const tabs = 'BroadcastChannel' in globalThis ? new BroadcastChannel('keygate') : null;
let lastActive = Date.now();
let lastTold = 0;
let lastHeard = Date.now();
/** How long nobody needs to be here before they are signed out: a little less than the server waits. */
let idleSeconds = 0;

/** Whether whoever is signed in has this role, or a higher one. */
export function may(role) {
    const held = session.value?.role;
    return ORDER.indexOf(held) >= ORDER.indexOf(role);
}

/** Whether they may change keys and clients, and there is a store to change. */
export const mayWrite = () => may('developer') && session.value?.can_write !== false;

/** Asks who is signed in. */
export async function recall() {
    try {
        welcome((await ask('GET', '/v1/session')).data);
    } catch (error) {
        session.value = null;
        if (error instanceof ApiError && error.status !== 401) farewell.value = error.message;
    }
}

/** Shows a token. Throws what is wrong with it. */
export async function signIn(token) {
    welcome((await ask('POST', '/v1/session', { body: { token } })).data);
}

function welcome(known) {
    lastActive = lastHeard = Date.now();
    farewell.value = '';
    sessionLost.value = false;
    idleSeconds = Math.max(90, known.idle_seconds_left - 15);
    session.value = known;
}

/** Ends this session, or all sessions of this token. */
export async function signOut({ everywhere = false, why = '' } = {}) {
    const path = everywhere ? '/v1/sessions' : '/v1/session';
    try {
        await ask('DELETE', path);
    } catch (error) {
        if (everywhere) throw error;
        // The session is over on this side in any case; on the other side it ends by itself.
    }
    tabs?.postMessage('left');
    end(why || (everywhere ? 'You are signed out everywhere.' : 'You are signed out.'));
}

function end(why) {
    farewell.value = why;
    secondsLeft.value = null;
    session.value = null;
}

sessionLost.subscribe((isLost) => {
    if (isLost && session.value) end('Your session has ended. Sign in again to go on.');
});

/** Says that somebody is here. */
export function stay() {
    lastActive = Date.now();
    secondsLeft.value = null;
    if (lastActive - lastTold > 5000) {
        lastTold = lastActive;
        tabs?.postMessage('active');
        tellServer();
    }
}


/** Reading and typing ask for nothing; the server hears of them once a minute all the same. */
function tellServer() {
    if (!session.value || lastActive - lastHeard < 60_000) return;
    lastHeard = lastActive;
    ask('GET', '/v1/session').catch(() => {});
}

function watch() {
    if (!session.value) return;
    const left = idleSeconds - (Date.now() - lastActive) / 1000;
    if (left <= 0) signOut({ why: 'You were signed out, since nobody had used the console for a while.' });
    else secondsLeft.value = left <= WARNING_SECONDS ? Math.ceil(left) : null;
}

if (tabs) {
    tabs.onmessage = ({ data }) => {
        if (data === 'left' && session.value) end('You are signed out.');
        if (data === 'active') {
            lastActive = Date.now();
            secondsLeft.value = null;
        }
    };
}
for (const sign of ['pointerdown', 'keydown', 'wheel']) {
    addEventListener(sign, () => secondsLeft.value === null && stay(), { passive: true, capture: true });
}
setInterval(watch, 1000);
