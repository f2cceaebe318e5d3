/**
 * Copies a text, and says so.
 *
 * Where the browser gives no clipboard (plain HTTP on another machine than this one), the text is selected and the
 * older command is tried; where that fails too, it stays selected, for the keyboard.
 */
import { html, useRef, useState } from '../html.js';
import { Icon } from './icon.js';

async function put(text) {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'unseen';
    const host = document.querySelector('dialog[open]') ?? document.body;
    host.append(area);
    area.select();
    const isDone = document.execCommand('copy');
    area.remove();
    if (!isDone) throw new Error('no clipboard');
    return undefined;
}

/** A button that copies `text`. */
export function Copy({ text, label = 'Copy', isBare = false, kind = '' }) {
    const [state, setState] = useState('');
    const timer = useRef(0);
    const copy = async (event) => {
        event.stopPropagation();
        try {
            await put(text);
            setState('Copied');
        } catch {
            setState('Select and copy it by hand');
        }
        clearTimeout(timer.current);
        timer.current = setTimeout(() => setState(''), 2500);
    };
    return html`<button type="button" class=${isBare ? 'icon-button copy' : `button ${kind}`} onClick=${copy}
        aria-label=${isBare ? label : undefined} title=${isBare ? state || label : undefined}>
        <${Icon} name=${state === 'Copied' ? 'check' : 'copy'} />
        ${!isBare && html`<span>${state || label}</span>`}
        <span class="unseen" role="status">${state}</span>
    </button>`;
}

/** Text that is copied by a click on it: an id, a masked key. */
export const Copied = ({ text, copies = text, label }) => html`<span class="copied">
    <code>${text}</code><${Copy} text=${copies} label=${label ?? `Copy ${text}`} isBare=${true} />
</span>`;

/** Lines of code with a copy button. */
export const Code = ({ text, label = 'Copy' }) => html`<div class="code">
    <pre tabindex="0"><code>${text}</code></pre><${Copy} text=${text} label=${label} isBare=${true} />
</div>`;
