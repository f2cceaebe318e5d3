/**
 * One client: what it may do, its keys, and what was done to it.
 */
import { html, useState } from '../html.js';
import { ask } from '../api.js';
import { command, curl } from '../commands.js';
import { count } from '../format.js';
import { tell } from '../notices.js';
import { useParts, useResource } from '../resource.js';
import { address, go, within } from '../router.js';
import { mayWrite } from '../session.js';
import { Copied } from '../parts/copy.js';
import { AreaField, TextField } from '../parts/form.js';
import { Icon } from '../parts/icon.js';
import { Card, PageHead } from '../parts/page.js';
import { PermissionList } from '../parts/permissions.js';
import { ShowAs } from '../parts/show_as.js';
import { Badge, Empty, Ends, Facts, Loading, Marked, Trouble, When } from '../parts/state.js';
import { Scroll } from '../parts/scroll.js';
import { History } from './audit.js';
import { ClientForm } from './client_form.js';
import { Act } from './key_dialogs.js';

/** The screen of a client. */
export function Client({ id }) {
    const path = `/v1/clients/${encodeURIComponent(id)}`;
    const { data: client, etag, error, reload } = useResource(path);
    const keys = useParts('/v1/keys', { client: id }, 50);
    const [dialog, setDialog] = useState(null);
    const [changes, setChanges] = useState(0);
    if (!client) {
        return html`<${PageHead} title="Client" back=${['#/clients', 'Clients']} />
            ${error?.status === 404 ? html`<${Empty} icon="search" title="There is no such client"
                action=${html`<a class="button" href="#/clients">Show all clients</a>`}>
                <p>It was removed, or never made.</p><//>` : error ? html`<${Trouble} error=${error} again=${reload} />`
                    : html`<${Loading} />`}`;
    }
    const done = (text) => () => {
        setDialog(null);
        setChanges(changes + 1);
        reload();
        keys.reload();
        tell(text);
    };
    const close = () => setDialog(null);
    const enable = async () => {
        try {
            await ask('POST', `${path}/enable`);
            done('The client is enabled.')();
        } catch (failed) {
            tell(failed.message, 'bad');
        }
    };
    const canChange = client.source === 'store' && mayWrite();
    const name = client.name || client.id;
    return html`
        <${PageHead} title=${name} back=${['#/clients', 'Clients']}>
            <${ShowAs} make=${() => [{ title: 'Show it', command: command('clients show', [id]),
                curl: curl('GET', path) },
                { title: 'Its keys', command: command('keys list', [], { client: id }),
                    curl: curl('GET', '/v1/keys', { query: { client: id } }) }]} />
            ${canChange && html`<button class="button" onClick=${() => setDialog('edit')}>Edit</button>
                ${client.active ? html`<button class="button" onClick=${() => setDialog('disable')}>Disable</button>`
                    : html`<button class="button" onClick=${enable}>Enable</button>`}
                <button class="button button-danger" onClick=${() => setDialog('delete')}>Remove</button>`}
            ${mayWrite() && html`<a class="button button-primary" href=${address('/new-key', { client: id })}><${Icon}
                name="plus" />Create API key</a>`}
        <//>
        ${!client.active && html`<div class="banner banner-warn"><${Icon} name="warning" /><p>Disabled <${When}
            at=${client.disabled_at} />: all its keys are refused.
            ${client.disabled_reason && html` Reason: <q>${client.disabled_reason}</q>`}</p></div>`}
        ${client.warnings?.map((warning) =>
            html`<div class="banner banner-warn"><${Icon} name="warning" /><p><${Marked} text=${warning.detail} /></p>
            </div>`)}
        <div class="grid-two">
            <${Card} title="Client"><${Facts} items=${[
                ['Status', html`<${Badge} word=${client.active ? 'active' : 'disabled'} />`],
                ['Id', html`<${Copied} text=${client.id} />`],
                ['Client type', client.client_type],
                client.tenant && ['Tenant', client.tenant],
                ['Permissions', html`<${PermissionList} permissions=${client.permissions} />`],
                ['Groups', client.groups.length > 0 ? client.groups.join(', ') : 'none'],
            ]} /><//>
            <${Card} title="About"><${Facts} items=${[
                ['Owner', client.owner ? html`<span class="with-icon"><${Icon}
                    name=${client.owner.kind === 'machine' ? 'machine' : 'person'} />${client.owner.id}</span>`
                    : 'nobody'],
                ['Created', html`<${When} at=${client.created_at} />`],
                ['Changed', html`<${When} at=${client.updated_at} />`],
                ['Kept in', client.source === 'file' ? 'a file; change it there' : 'the store'],
                ...Object.entries(client.metadata ?? {}).map(([label, value]) => [label, String(value)]),
            ]} /><//>
        </div>
        <${Card} title="Keys" about=${count(client.keys, 'key')}
            actions=${html`<a class="button" href=${address('/keys', { client: id })}>Show in the list</a>`}>
            ${keys.items.length > 0 ? html`<${Scroll} label="Keys of this client"><table class="plain"><caption
                class="unseen">Keys of this client</caption>
                <thead><tr><th scope="col">Name</th><th scope="col">Key</th><th scope="col">Status</th><th
                    scope="col">Expires</th><th scope="col">Last used</th></tr></thead>
                <tbody>${keys.items.map((key) =>
                    html`<tr key=${key.id}><th scope="row"><a href=${address(within('/keys', key.id))}>${key.name}</a>
                    </th><td><code>${key.masked}</code></td>
                    <td><${Badge} word=${key.status} /></td><td><${Ends} at=${key.expires_at} /></td><td><${When}
                        at=${key.last_used_at} none="never" /></td></tr>`)}</tbody></table><//>`
                : html`<p class="faint">${keys.isLoading ? 'Loading…'
                    : 'It has no key, so it cannot call anything that asks for one.'}</p>`}
        <//>
        <${Card} title="History"><${History} key=${changes} target=${client.id} /><//>
        ${dialog === 'edit' && html`<${ClientForm} known=${client} etag=${etag} onClose=${close}
            onDone=${done('The client is changed; its keys follow at once.')} />`}
        ${dialog === 'disable' && html`<${DisableClient}
            ...${{ client, path, onClose: close, onDone: done('The client is disabled.') }} />`}
        ${dialog === 'delete' && html`<${RemoveClient} ...${{ client, path, onClose: close }}
            onDone=${(report) => { tell(`The client is removed, and ${count(report.keys_revoked,
            'key')} revoked.`); go('/clients'); }} />`}`;
}

function DisableClient({ client, path, onClose, onDone }) {
    const [reason, setReason] = useState('');
    const body = reason ? { reason } : {};
    return html`<${Act} title="Disable “${client.name || client.id}”" verb="Disable" kind="danger"
        ...${{ onClose, onDone }} act=${async () => (await ask('POST', `${path}/disable`, { body })).data}
        lines=${() => [{ command: command('clients disable', [client.id], { reason }),
            curl: curl('POST', `${path}/disable`, { body }) }]}>
        <p>${client.keys === 1 ? 'Its key is'
            : `All ${client.keys} keys of it are`} refused from the next request on, and what they have open is cut. It can be enabled again.</p>
        <${AreaField} label="Reason" isOptional=${true} value=${reason} onInput=${setReason}
            hint="For the audit log, and for whoever looks at the client." />
    <//>`;
}

function RemoveClient({ client, path, onClose, onDone }) {
    const [typed, setTyped] = useState('');
    const [reason, setReason] = useState('');
    const query = reason ? { reason } : undefined;
    return html`<${Act} title="Remove “${client.name || client.id}”" verb="Remove for good" kind="danger"
        isReady=${typed === client.id} ...${{ onClose, onDone }}
        act=${async () => (await ask('DELETE', path, { query })).data}
            lines=${() => [{ command: command('clients delete', [client.id], { reason }),
            curl: curl('DELETE', path, { query }) }]}>
        <p>The client goes, and its ${count(client.keys, 'key')} with it. <strong>This cannot be undone.</strong></p>
        <${TextField} label=${html`Type <strong class="mono">${client.id}</strong> to confirm`} value=${typed}
            onInput=${setTyped} autofocus />
        <${TextField} label="Reason" isOptional=${true} value=${reason} onInput=${setReason} />
    <//>`;
}
