/**
 * A question that must be answered first.
 *
 * The browser's own `dialog` keeps the focus inside, reads the title out, and gives the focus back to where it came
 * from. Escape closes it, unless it `mustBeAnswered`: a key that is shown once is not lost to a slip of a finger.
 */
import { html, useEffect, useId, useRef } from '../html.js';
import { Icon } from './icon.js';

/** Shown as long as it is part of the page. */
export function Dialog({ title, onClose, mustBeAnswered = false, size = '', children, footer }) {
    const box = useRef(null);
    const name = useId();
    useEffect(() => {
        const dialog = box.current;
        const opener = document.activeElement;
        dialog.showModal();
        return () => {
            dialog.close();
            // The browser gives the focus back to what is still there; by then the dialog is not.
            setTimeout(() => document.activeElement === document.body && opener?.isConnected && opener.focus());
        };
    }, []);
    const cancel = (event) => {
        event.preventDefault();
        if (!mustBeAnswered) onClose();
    };
    const keydown = (event) => {
        // A browser lets a second Escape through whatever is said to the first.
        if (event.key === 'Escape') cancel(event);
    };
    const outside = (event) => event.target === box.current && !mustBeAnswered && onClose();
    return html`<dialog ref=${box} class="dialog ${size}" aria-labelledby=${name} onCancel=${cancel}
        onKeyDown=${keydown}
        onMouseDown=${outside}>
        <div class="dialog-inside">
            <header class="dialog-head">
                <h2 id=${name}>${title}</h2>
                ${!mustBeAnswered && html`<button type="button" class="icon-button" aria-label="Close"
                    onClick=${onClose}>
                    <${Icon} name="close" /></button>`}
            </header>
            <div class="dialog-body">${children}</div>
            ${footer && html`<footer class="dialog-foot">${footer}</footer>`}
        </div>
    </dialog>`;
}
