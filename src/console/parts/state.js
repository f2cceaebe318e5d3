/**
 * What stands where something is loading, missing, empty or failed; and small signs of a state.
 *
 * An empty list says what to do next. A failure says what failed in the server's words, and offers to try again.
 */
import { html } from '../html.js';
import { away, moment, secondsUntil, words } from '../format.js';
import { Icon } from './icon.js';

/** Bars in place of what is on its way. */
export const Loading = ({ lines = 6 }) => html`<div class="loading" role="status">
    <span class="unseen">Loading</span>
        ${Array.from({ length: lines }, () => html`<span class="loading-line" aria-hidden="true" />`)}
</div>`;

/** What failed, with a way to try again. */
export function Trouble({ error, again }) {
    if (!error) return null;
    return html`<div class="banner banner-bad" role="alert">
        <${Icon} name="warning" />
        <div class="banner-words"><strong>${error.title ?? 'That did not work'}</strong>
            <p><${Marked} text=${error.detail ?? error.message} /></p>
            ${error.retryAfter && html`<p>Try again in ${error.retryAfter} seconds.</p>`}
        </div>
        ${again && html`<button class="button" onClick=${again}>Try again</button>`}
    </div>`;
}

/** What an empty place is for, and the next step. */
export const Empty = ({ icon = 'info', title, children, action }) => html`<div class="empty">
    <span class="empty-icon"><${Icon} name=${icon} /></span>
    <h2>${title}</h2>
    <div class="empty-words">${children}</div>
    ${action}
</div>`;

const TONES = {
    active: 'good', healthy: 'good', admitted: 'good', current: 'good', applied: 'good',
    disabled: 'quiet', revoked: 'bad', expired: 'bad', refused: 'bad', rejected: 'bad', failed: 'bad', unhealthy: 'bad',
    not_yet_valid: 'warn', pending: 'warn', superseded: 'warn',
};

/** A word with the colour of its meaning; the word alone would do. */
export const Badge = ({ word, tone, children }) => html`
    <span class="badge badge-${tone ?? TONES[word] ?? 'plain'}">${children ?? words(word)}</span>`;

/** Words of the server, in which names stand between backticks. */
export const Marked = ({ text }) =>
    text?.split(/`([^`]+)`/).map((part, index) => (index % 2 ? html`<code>${part}</code>` : part));

/** A moment, short, with the whole of it in the title. */
export const When = ({ at, none = '–' }) => (at
    ? html`<time datetime=${at} title=${moment(at)}>${away(at)}</time>`
    : html`<span class="faint">${none}</span>`);

/** The end of a key; one that is near is marked. */
export function Ends({ at, none = 'never' }) {
    if (!at) return html`<span class="faint">${none}</span>`;
    const days = secondsUntil(at) / 86400;
    const tone = days < 0 ? 'past' : days < 7 ? 'soon' : 'later';
    return html`<time class="ends-${tone}" datetime=${at} title=${moment(at)}>${away(at)}</time>`;
}

/** Names and values, one below the other. */
export const Facts = ({ items }) => html`<dl class="facts">
    ${items.filter(Boolean).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
</dl>`;
