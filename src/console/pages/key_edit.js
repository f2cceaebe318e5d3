/**
 * Changing a key. Its secret stays; only what was changed is sent, and not over the head of somebody who was faster.
 */
import { html, useState } from '../html.js';
import { ask } from '../api.js';
import { command, curl, permissionsWord } from '../commands.js';
import { AreaField, TextField } from '../parts/form.js';
import { PermissionsField } from '../parts/permissions.js';
import { Act } from './key_dialogs.js';

const list = (text) => text.split(/[\s,]+/).filter(Boolean);
const local = (iso) => {
    if (!iso) return '';
    const at = new Date(iso);
    return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
};

/** The dialog. */
export function EditKey({ known, etag, onClose, onDone }) {
    const before = {
        name: known.name, description: known.description ?? '', environment: known.environment ?? '',
            expires: local(known.expires_at),
        networks: known.networks.join(' '), origins: known.origins.join(' '), permissions: known.permissions,
    };
    const [form, setForm] = useState(before);
    const set = (name) => (value) => setForm((old) => ({ ...old, [name]: value }));
    const is = (name) => JSON.stringify(form[name]) !== JSON.stringify(before[name]);
    const body = {
        ...(is('name') && { name: form.name.trim() }),
        ...(is('description') && { description: form.description || null }),
        ...(is('environment') && { environment: form.environment || null }),
        ...(is('expires') && { expires_at: form.expires ? new Date(form.expires).toISOString() : null }),
        ...(is('permissions') && { permissions: form.permissions }),
        ...(is('networks') && { networks: list(form.networks) }),
        ...(is('origins') && { origins: list(form.origins) }),
    };
    const path = `/v1/keys/${encodeURIComponent(known.id)}`;
    const lines = () => [{
        command: command('keys edit', [known.id], {
            name: body.name, description: is('description') ? [form.description] : undefined,
                environment: is('environment') ? form.environment || 'any' : undefined,
            expires: is('expires') ? body.expires_at ?? 'never' : undefined,
                permissions: permissionsWord(body.permissions),
            network: is('networks') ? (body.networks.length ? body.networks : 'any') : undefined,
            origin: is('origins') ? (body.origins.length ? body.origins : 'any') : undefined,
        }),
        curl: curl('PATCH', path, { body }),
    }];
    return html`<${Act} title="Edit “${known.name}”" verb="Save" lines=${lines} isReady=${Object.keys(body).length > 0}
        ...${{ onClose, onDone }}
        act=${async () => (await ask('PATCH', path, { body, etag })).data}>${(error) => html`
        <${TextField} label="Name" value=${form.name} onInput=${set('name')} required maxlength="100"
            error=${error?.of?.('/name')} />
        <${AreaField} label="Description" isOptional=${true} value=${form.description} onInput=${set('description')}
            maxlength="500"
            error=${error?.of?.('/description')} />
        <div class="columns">
            <${TextField} label="Expires at" isOptional=${true} type="datetime-local" value=${form.expires}
                onInput=${set('expires')}
                error=${error?.of?.('/expires_at')} hint="Never, if empty." />
            <${TextField} label="Environment" isOptional=${true} value=${form.environment} onInput=${set('environment')}
                error=${error?.of?.('/environment')} hint="Any, if empty." />
        </div>
        <${TextField} label="Networks" isOptional=${true} value=${form.networks} onInput=${set('networks')}
            error=${error?.of?.('/networks')}
            hint="Addresses it may be used from; anywhere if empty." />
        ${known.type === 'publishable'
            ? html`<${TextField} label="Web pages" isOptional=${true} value=${form.origins} onInput=${set('origins')}
                error=${error?.of?.('/origins')} />`
            : html`<${PermissionsField} value=${form.permissions} onInput=${set('permissions')}
                error=${error?.of?.('/permissions')} />`}`}
    <//>`;
}
