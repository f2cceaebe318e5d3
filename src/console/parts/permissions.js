/**
 * What a key or a client may do: everything, reading only, or chosen rights by resource.
 *
 * The rights offered are those that the rules in force ask for; others may be written down, for rules that are still to
 * come.
 */
import { html, useId, useState } from '../html.js';
import { useResource } from '../resource.js';
import { Choice, TextField } from './form.js';

/** Permissions in words. */
export function permissionsText(permissions) {
    if (permissions === 'all' || permissions === undefined || permissions === null) return 'All';
    if (permissions === 'read_only') return 'Read only';
    return permissions.length === 0 ? 'None' : permissions.join(', ');
}

/** Whose list is what: the chosen ones, in small. */
export const PermissionList = ({ permissions }) => (Array.isArray(permissions) && permissions.length > 0
    ? html`<span class="tags">${permissions.map((one) => html`<code class="tag" key=${one}>${one}</code>`)}</span>`
    : permissionsText(permissions));

/** `value` is `all`, `read_only`, or a list. */
export function PermissionsField({ value, onInput, error, whose = 'key', allIsAllowed = true }) {
    const { data } = useResource('/v1/permissions');
    const name = useId();
    const preset = Array.isArray(value) ? 'restricted' : value;
    const chosen = Array.isArray(value) ? value : [];
    const resources = data?.resources ?? [];
    const offered = new Set(resources.flatMap(({ permissions }) => permissions.map((one) => one.permission)));
    const [written, setWritten] = useState(null);
    const others = written ?? chosen.filter((one) => !offered.has(one)).join(' ');
    const turn = (permission, isOn) =>
        onInput(isOn ? [...chosen, permission] : chosen.filter((one) => one !== permission));
    const write = (text) => {
        setWritten(text);
        onInput([...chosen.filter((one) => offered.has(one)), ...text.split(/[\s,]+/).filter(Boolean)]);
    };
    return html`<div class="permissions">
        <${Choice} label="Permissions" value=${preset} error=${error}
            onInput=${(picked) => onInput(picked === 'restricted' ? chosen : picked)}
            options=${[
                { value: 'all', label: 'All permissions', disabled: !allIsAllowed,
                    about: whose === 'key' ? 'Whatever its client may do' : 'Whatever its client type may do' },
                { value: 'read_only', label: 'Read only', about: 'GET, HEAD and OPTIONS, on everything' },
                { value: 'restricted', label: 'Restricted', about: 'The rights you choose, by resource' },
            ]} />
        ${preset === 'restricted' && html`<div class="resources">
            ${resources.length > 0 && html`<table><caption class="unseen">Rights by resource</caption>
                <thead><tr><th scope="col">Resource</th><th scope="col">Rights</th></tr></thead>
                <tbody>${resources.map(({ name: resource, permissions }) => html`<tr key=${resource}>
                    <th scope="row" id="${name}-${resource}">${resource}</th>
                    <td><div class="rights" role="group" aria-labelledby="${name}-${resource}">
                        ${permissions.map(({ permission, operation, endpoints }) =>
                            html`<label class="right" key=${permission} title="asked for by ${endpoints.join(', ')}">
                            <input type="checkbox" checked=${chosen.includes(permission)}
                                onChange=${(event) => turn(permission, event.target.checked)} />
                            <span>${operation}</span></label>`)}
                    </div></td></tr>`)}</tbody></table>`}
            <${TextField} label=${resources.length > 0 ? 'Other permissions' : 'Permissions'}
                isOptional=${resources.length > 0}
                hint="Written as resource.operation, with blanks between; write includes read." value=${others}
                onInput=${write} placeholder="orders.read invoices.*" />
        </div>`}
    </div>`;
}
