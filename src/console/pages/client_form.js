/**
 * Making and changing a client, in a dialog.
 */
import { html, useState } from '../html.js';
import { ask } from '../api.js';
import { command, curl, permissionsWord } from '../commands.js';
import { useWords } from '../words.js';
import { SelectField, TextField } from '../parts/form.js';
import { PermissionsField } from '../parts/permissions.js';
import { Act } from './key_dialogs.js';

const list = (text) => text.split(/[\s,]+/).filter(Boolean);

/** Makes a client, or changes `known`. */
export function ClientForm({ known, etag, onClose, onDone }) {
    const before = {
        id: known?.id ?? '', name: known?.name ?? '', clientType: known?.client_type ?? '', tenant: known?.tenant ?? '',
            groups: (known?.groups ?? []).join(' '),
        permissions: known?.permissions ?? 'all', ownerKind: known?.owner?.kind ?? '', ownerId: known?.owner?.id ?? '',
    };
    const [form, setForm] = useState(before);
    const words = useWords();
    const set = (name) => (value) => setForm((old) => ({ ...old, [name]: value }));
    const is = (...names) => names.some((name) => JSON.stringify(form[name]) !== JSON.stringify(before[name]));
    const owner = form.ownerKind ? { kind: form.ownerKind, id: form.ownerId } : null;
    const body = {
        ...(!known && { id: form.id }),
        ...(is('name') && { name: form.name || null }),
        ...(is('clientType') && { client_type: form.clientType }),
        ...(is('tenant') && { tenant: form.tenant || null }),
        ...(is('groups') && { groups: list(form.groups) }),
        ...(is('permissions') && { permissions: form.permissions }),
        ...(is('ownerKind', 'ownerId') && { owner }),
    };
    const path = known ? `/v1/clients/${encodeURIComponent(known.id)}` : '/v1/clients';
    const method = known ? 'PATCH' : 'POST';
    const lines = () => [{
        command: command(known ? 'clients edit' : 'clients create', [form.id || 'ID'], {
            name: body.name, 'client-type': body.client_type, tenant: is('tenant') ? form.tenant || 'none' : undefined,
                group: is('groups') ? body.groups.length ? body.groups : 'none' : undefined,
            permissions: permissionsWord(body.permissions), owner: is('ownerKind', 'ownerId') ? owner
                ? `${owner.kind}:${owner.id}` : 'none' : undefined,
        }),
        curl: curl(method, path, { body }),
    }];
    return html`<${Act} title=${known ? `Edit “${known.name || known.id}”` : 'Create client'}
        verb=${known ? 'Save' : 'Create client'} lines=${lines}
        isReady=${Object.keys(body).length > 0} ...${{ onClose, onDone }}
            act=${async () => (await ask(method, path, { body, etag })).data}>${(error) => html`
        ${!known && html`<${TextField} label="Id" value=${form.id} onInput=${set('id')} required
            error=${error?.of?.('/id')} placeholder="acme"
            hint="A word that stays: rules, logs and upstreams see it." />`}
        <${TextField} label="Name" isOptional=${true} value=${form.name} onInput=${set('name')}
            error=${error?.of?.('/name')} placeholder="Acme Ltd" />
        <div class="columns">
            <${TextField} label="Client type" value=${form.clientType} onInput=${set('clientType')} required
                error=${error?.of?.('/client_type')}
                suggestions=${words.clientTypes} hint="The class of client that rules name." />
            <${TextField} label="Tenant" isOptional=${true} value=${form.tenant} onInput=${set('tenant')}
                error=${error?.of?.('/tenant')} hint="The customer or project." />
        </div>
        <${TextField} label="Groups" isOptional=${true} value=${form.groups} onInput=${set('groups')}
            error=${error?.of?.('/groups')} hint="With blanks between; expressions of rules see them." />
        <div class="columns">
            <${SelectField} label="Owner" value=${form.ownerKind} onInput=${set('ownerKind')}
                options=${[['', 'Nobody'], ['user', 'A person'], ['machine', 'A machine']]} />
            ${form.ownerKind && html`<${TextField} label=${form.ownerKind === 'user' ? 'Which person' : 'Which machine'}
                value=${form.ownerId} onInput=${set('ownerId')} required error=${error?.of?.('/owner')} />`}
        </div>
        <${PermissionsField} value=${form.permissions} onInput=${set('permissions')}
            error=${error?.of?.('/permissions')} whose="client" />`}
    <//>`;
}
