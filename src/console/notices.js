/**
 * Short words about what has just happened, seen in a corner and read out by screen readers.
 *
 * Never the only sign of a failure: what went wrong with a form stands in the form.
 */
import { html, signal } from './html.js';
import { Icon } from './parts/icon.js';

const notices = signal([]);
let number = 0;

/** Says something for a few seconds. `tone` is `good` or `bad`. */
export function tell(text, tone = 'good') {
    const notice = { id: ++number, text, tone };
    notices.value = [...notices.value, notice];
    setTimeout(() => dismiss(notice.id), tone === 'bad' ? 10_000 : 5000);
}

const dismiss = (id) => (notices.value = notices.value.filter((notice) => notice.id !== id));

/** Where they stand. The region is there before the words, or nobody would hear them. */
export function Notices() {
    return html`<div class="notices" role="status" aria-live="polite">
        ${notices.value.map((notice) => html`<div key=${notice.id} class="notice notice-${notice.tone}">
            <${Icon} name=${notice.tone === 'bad' ? 'warning' : 'check'} />
            <span>${notice.text}</span>
            <button class="icon-button" aria-label="Dismiss" onClick=${() => dismiss(notice.id)}><${Icon}
                name="close" /></button>
        </div>`)}
    </div>`;
}
