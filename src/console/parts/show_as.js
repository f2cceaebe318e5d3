/**
 * "Show as curl, as command": how to do by a script what this screen does.
 *
 * `lines` are pairs of a title and the two forms; see `commands.js`.
 */
import { html, useState } from '../html.js';
import { Dialog } from './dialog.js';
import { Code } from './copy.js';
import { Icon } from './icon.js';

/** A button that opens the lines. `make` is asked when it is pressed. */
export function ShowAs({ make, label = 'Show as command' }) {
    const [lines, setLines] = useState(null);
    return html`<button type="button" class="button" onClick=${() => setLines(make())}>
            <${Icon} name="terminal" /><span>${label}</span></button>
        ${lines && html`<${Dialog} title="The same in a shell" size="wide" onClose=${() => setLines(null)}>
            ${lines.map(({ title, command, curl }) => html`<section class="show-as">
                ${title && html`<h3>${title}</h3>`}
                ${command && html`<p class="field-label">As a command</p>
                    <${Code} text=${command} label="Copy the command" />`}
                ${curl && html`<p class="field-label">With curl</p><${Code} text=${curl} label="Copy the curl line" />`}
            </section>`)}
            <p class="field-hint">Commands run on the machine of keygate and need no token. For curl put an admin token into the
                variable <code>TOKEN</code>, without a trace in the history of the shell: <code>read -rs TOKEN</code>.</p>
        <//>`}`;
}
