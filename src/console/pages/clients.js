/**
 * Who keys belong to; and who answers for them, people and machines.
 */
import { html, useEffect, useRef, useState } from '../html.js';
import { ask } from '../api.js';
import { command, curl } from '../commands.js';
import { count, whole } from '../format.js';
import { tell } from '../notices.js';
import { useParts, useResource } from '../resource.js';
import { address, filter, go, route, within } from '../router.js';
import { useWords } from '../words.js';
import { mayWrite } from '../session.js';
import { Choice } from '../parts/form.js';
import { Icon } from '../parts/icon.js';
import { Card, PageHead } from '../parts/page.js';
import { permissionsText } from '../parts/permissions.js';
import { ShowAs } from '../parts/show_as.js';
import { Badge, Empty, Loading, Trouble, When } from '../parts/state.js';
import { Scroll } from '../parts/scroll.js';
import { Table } from '../parts/table.js';
import { ClientForm } from './client_form.js';
import { mayBeKey } from './keys.js';
import { Act } from './key_dialogs.js';

/** The list of clients, or of owners. */
export function Clients() {
    const { query } = route.value;
    const isOwners = query.show === 'owners';
    const [isMaking, setIsMaking] = useState(false);
    const { show, ...filters } = query;
    const lines = () => (isOwners
        ? [{ command: command('clients owners'), curl: curl('GET', '/v1/owners') }]
        : [{ command: command('clients list', (query.q ?? '').split(' '),
            { 'client-type': query.client_type, tenant: query.tenant }),
            curl: curl('GET', '/v1/clients', { query: filters }) }]);
    return html`
        <${PageHead} title="Clients"
            about="Who keys belong to. Rules, limits and logs speak of clients; each may have several keys.">
            <${ShowAs} make=${lines} />
            ${mayWrite() && html`<button class="button button-primary" onClick=${() => setIsMaking(true)}><${Icon}
                name="plus" />Create client</button>`}
        <//>
        <div class="segments page-segments" role="group" aria-label="What is shown">
            <a class="segment" href="#/clients" aria-current=${isOwners ? undefined : 'true'}>Clients</a>
            <a class="segment" href="#/clients?show=owners"
                aria-current=${isOwners ? 'true' : undefined}>People and machines</a>
        </div>
        ${isOwners ? html`<${Owners} />` : html`<${List} query=${filters} onMake=${() => setIsMaking(true)} />`}
        ${isMaking && html`<${ClientForm} onClose=${() => setIsMaking(false)}
            onDone=${(made) => { tell('The client is made.'); go(within('/clients', made.id)); }} />`}`;
}

function List({ query, onMake }) {
    const list = useParts('/v1/clients', query);
    const known = useWords({ isLater: true });
    const [text, setText] = useState(query.q ?? '');
    const timer = useRef(0);
    useEffect(() => setText(query.q ?? ''), [query.q]);
    const search = (next) => {
        clearTimeout(timer.current);
        // A key has no business here, and none in an address.
        setText(mayBeKey(next) ? '' : next);
        if (!mayBeKey(next)) timer.current = setTimeout(() => filter({ q: next.trim() }), 250);
    };
    const isFiltered = Object.values(query).some(Boolean);
    return html`
        <search class="filters">
            <div class="search-field"><${Icon} name="search" /><input class="input" type="search"
                aria-label="Search clients" placeholder="Search by id or name"
                autocomplete="off" value=${text} onInput=${(event) => search(event.target.value)} /></div>
            <select class="input input-small" aria-label="Client type" value=${query.client_type ?? ''}
                onChange=${(event) => filter({ client_type: event.target.value })}>
                <option value="">Client type: all</option>
                ${known.clientTypes.map((word) =>
                    html`<option value=${word} selected=${word === query.client_type}>${word}</option>`)}</select>
            ${query.tenant && html`<button class="chip"
                onClick=${() => filter({ tenant: '' })}>tenant: ${query.tenant}<${Icon} name="close" /></button>`}
            ${isFiltered && html`<a class="button button-quiet" href="#/clients">Clear</a>`}
        </search>
        <${Trouble} error=${list.error} again=${list.reload} />
        ${list.items.length > 0 ? html`<${Card} kind="card-flush">
                <${Table} caption="Clients" id=${(client) => client.id} rows=${list.items} columns=${COLUMNS}
                    hasMore=${!!list.next} onEnd=${list.more} tall=${196} />
                <p class="table-foot" role="status">
                    ${list.isLoading ? 'Loading…' : list.next ? `${whole(list.items.length)} shown; scroll for more`
                    : count(list.items.length, 'client')}</p><//>`
            : list.isLoading ? html`<${Loading} />`
            : !list.error && (isFiltered
                ? html`<${Empty} icon="search" title="No client matches"
                    action=${html`<a class="button" href="#/clients">Show all clients</a>`}>
                    <p>Search finds parts of ids and names.</p><//>`
                : html`<${Empty} icon="clients" title="There are no clients yet"
                    action=${mayWrite() && html`<button class="button button-primary" onClick=${onMake}><${Icon}
                        name="plus" />Create client</button>`}>
                    <p>A client is a program, a customer or a person that calls. It is made here, or together with its first key.</p>
                        <//>`)}`;
}

const COLUMNS = [
    { label: 'Name', isHead: true, kind: 'wide', width: '24%', show: (client) =>
        html`<a class="row-link" href=${address(within('/clients', client.id))}>${client.name || client.id}</a>
        <span class="under">${client.id}</span>` },
    { label: 'Client type', show: (client) =>
        html`<a href=${address('/clients', { client_type: client.client_type })}>${client.client_type}</a>` },
    { label: 'Tenant', show: (client) =>
        (client.tenant ? html`<a href=${address('/clients', { tenant: client.tenant })}>${client.tenant}</a>`
        : html`<span class="faint">–</span>`) },
    { label: 'Owner', show: (client) =>
        (client.owner ? html`<span class="with-icon"><${Icon}
        name=${client.owner.kind === 'machine' ? 'machine' : 'person'} />${client.owner.id}</span>`
        : html`<span class="faint">–</span>`) },
    { label: 'Status', width: '108px', show: (client) => html`<${Badge} word=${client.active ? 'active' : 'disabled'} />` },
    { label: 'Permissions', kind: 'medium', show: (client) =>
        html`<span class="clip" title=${permissionsText(client.permissions)}>
        ${permissionsText(client.permissions)}</span>` },
    { label: 'Keys', kind: 'number', width: '64px', show: (client) =>
        html`<a href=${address('/keys', { client: client.id })}>${whole(client.keys)}</a>` },
    { label: 'Created', width: '112px', kind: 'spare', show: (client) => html`<${When} at=${client.created_at} />` },
];

function Owners() {
    const owners = useResource('/v1/owners');
    const [removing, setRemoving] = useState(null);
    const items = owners.data?.items ?? [];
    return html`<${Trouble} error=${owners.error} again=${owners.reload} />
        ${items.length > 0 ? html`<${Card} kind="card-flush"><${Scroll} label="People and machines"><table
            class="plain"><caption class="unseen">People and machines</caption>
            <thead><tr><th scope="col">Owner</th><th scope="col">Kind</th><th scope="col" class="number">Clients</th><th
                scope="col" class="number">Keys</th><th scope="col"><span class="unseen">Do</span></th></tr></thead>
            <tbody>${items.map((owner) => html`<tr key=${`${owner.kind}/${owner.id}`}><th scope="row"><span
                class="with-icon"><${Icon} name=${owner.kind === 'machine' ? 'machine' : 'person'} />${owner.id}</span>
                </th>
                <td>${owner.kind === 'machine' ? 'Machine' : 'Person'}</td><td class="number">
                    ${whole(owner.clients)}</td><td class="number">${whole(owner.keys)}</td>
                <td class="number">${mayWrite()
                    && html`<button class="button button-small button-danger"
                    onClick=${() => setRemoving(owner)}>Remove…<span class="unseen"> ${owner.id}</span></button>`}</td>
                    </tr>`)}</tbody></table><//><//>`
            : owners.isLoading ? html`<${Loading} />`
            : !owners.error && html`<${Empty} icon="person" title="Nobody answers for a client yet">
                <p>When a key is made for “You” or a “Machine”, its client has an owner, who is listed here. Who leaves
                is removed here, with all that was theirs.</p><//>`}
        ${removing && html`<${RemoveOwner} owner=${removing} onClose=${() => setRemoving(null)}
            onDone=${(report) => { setRemoving(null); owners.reload();
            tell(`${removing.id} is removed: ${count(report.keys_revoked,
                'key')} revoked, ${report.keys_disabled} disabled.`); }} />`}`;
}

function RemoveOwner({ owner, onClose, onDone }) {
    const isMachine = owner.kind === 'machine';
    const [keys, setKeys] = useState(isMachine ? 'revoke' : 'disable');
    const path = `/v1/owners/${owner.kind}/${encodeURIComponent(owner.id)}`;
    const query = { keys };
    return html`<${Act} title="Remove “${owner.id}”" verb="Remove" kind="danger" ...${{ onClose, onDone }}
        act=${async () => (await ask('DELETE', path, { query })).data}
        lines=${() => [{ command: command('clients remove-owner', [owner.kind, owner.id],
            { revoke: keys === 'revoke' && !isMachine }), curl: curl('DELETE', path, { query }) }]}>
        <p>${count(owner.clients, 'client')} with ${count(owner.keys, 'key')} ${owner.clients === 1 ? 'belongs'
            : 'belong'} to ${isMachine ? 'this machine' : 'this person'}.</p>
        <${Choice} label="Its keys" value=${keys} onInput=${setKeys} options=${[
            { value: 'disable', label: 'Disable', about: 'They can be enabled again', disabled: isMachine },
            { value: 'revoke', label: 'Revoke', about: 'They are gone for good' }]} />
    <//>`;
}
