/**
 * Who may administer, what is asked of keys, and the configuration as keygate understood it.
 */
import { html, useState } from '../html.js';
import { ask } from '../api.js';
import { command, curl } from '../commands.js';
import { moment, span, title, whole } from '../format.js';
import { tell } from '../notices.js';
import { useResource } from '../resource.js';
import { may, session, signOut } from '../session.js';
import { Copied, Copy, Code } from '../parts/copy.js';
import { Dialog } from '../parts/dialog.js';
import { Choice, TextField, Tick } from '../parts/form.js';
import { Icon } from '../parts/icon.js';
import { Card, PageHead } from '../parts/page.js';
import { ShowAs } from '../parts/show_as.js';
import { Badge, Ends, Facts, Loading, Trouble, When } from '../parts/state.js';
import { Scroll } from '../parts/scroll.js';
import { Act } from './key_dialogs.js';
import { EndField, endOf } from './key_new.js';

const ROLES = [
    { value: 'viewer', label: 'Viewer', about: 'Looks at everything, changes nothing' },
    { value: 'developer', label: 'Developer', about: 'Manages keys and clients' },
    { value: 'admin', label: 'Admin', about: 'Manages tokens and reloads too' },
];

/** The screen. */
export function Settings() {
    const settings = useResource('/v1/settings');
    const { data, error, reload } = settings;
    return html`
        <${PageHead} title="Settings" about="What keygate was told, and who may tell it more.">
            <a class="button" href="#/keys"><${Icon} name="key" />API keys</a>
            <${ShowAs} make=${() => [{ title: 'Settings', curl: curl('GET', '/v1/settings') },
                { title: 'Version', command: command('version') },
                { title: 'Whether the file is good', command: command('check') }]} />
        <//>
        <${Session} />
        <${Tokens} />
        <${Trouble} error=${error} again=${reload} />
        ${!data ? !error && html`<${Loading} />` : html`
            <div class="grid-two">
                <${Card} title="Gateway"><${Facts} items=${[
                    ['Version', `${data.version}${data.revision ? ` (${data.revision.slice(0, 12)})` : ''}`],
                    ['Started', html`<${When} at=${data.started_at} />`],
                    ['Configuration', `generation ${data.generation}`],
                    ['Environment', data.environment ?? 'any'],
                    ['Listens on', html`<ul class="bare">
                        ${data.listeners.map((one) => html`<li><code>${one.address}</code>
                        ${one.is_tls ? ' TLS' : ''}${one.is_backoffice ? ' back office' : ''}</li>`)}</ul>`],
                    ...data.certificates.map((one) =>
                        [`Certificate ${one.name}`, html`<${Ends} at=${one.not_after} />`]),
                ]} /><//>
                <${Card} title="Policy for keys" about="What is asked of keys that are made or changed"><${Facts}
                    items=${policyFacts(data.policy)} />
                    ${data.prefixes.length > 0 && html`<h3 class="spaced">How keys begin</h3><${Scroll}
                        label="Prefixes of keys"><table class="plain"><caption class="unseen">Prefixes of keys</caption>
                        <thead><tr><th scope="col">Prefix</th><th scope="col">Type</th><th scope="col">Environment</th>
                            </tr></thead>
                        <tbody>${data.prefixes.map((one) =>
                            html`<tr><th scope="row"><code>${one.prefix}</code></th><td>
                            ${title(one.key_type ?? one.type ?? '')}</td><td>${one.environment ?? 'any'}</td>
                            </tr>`)}</tbody>
                    </table><//>`}<//>
            </div>
            <${Card} title="Configuration as understood"
                about="In the words of its file, with what it does not say filled in, and without secrets. Rules stand under Endpoints."
                actions=${html`<${Copy} text=${yaml(data.configuration)} label="Copy" />`}>
                <div class="configuration"><${Code} text=${yaml(data.configuration)} label="Copy the configuration" />
                    </div><//>`}`;
}

function policyFacts(policy) {
    return [
        ['An end is', policy.require_expiry ? 'required' : 'up to whoever makes a key'],
        ['Good at most', policy.max_age_seconds ? span(policy.max_age_seconds) : 'without bound'],
        ['Permissions are', policy.require_permissions ? 'required' : 'up to whoever makes a key'],
        ['Keys of a tenant', policy.max_keys ? `${whole(policy.max_keys)} at most` : 'without bound'],
        ['Unused keys', policy.disable_unused_after_seconds
            ? `disabled after ${span(policy.disable_unused_after_seconds)}` : 'stay as they are'],
        ['Publishable keys', policy.keep_publishable_visible ? 'can be seen again' : 'are shown once, like others'],
        policy.notify_before_expiry_seconds.length > 0
            && ['Before the end', `somebody is told ${policy.notify_before_expiry_seconds.map(span).join(', ')} ahead`],
    ];
}

function Session() {
    const [error, setError] = useState(null);
    const known = session.value;
    const everywhere = () => signOut({ everywhere: true }).catch(setError);
    return html`<${Card} title="Your session"
        actions=${html`<button class="button" onClick=${everywhere}>Sign out everywhere</button>
            <button class="button" onClick=${() => signOut()}>Sign out</button>`}>
        <${Trouble} error=${error} />
        <${Facts} items=${[
            ['You are', html`${known.token_name} <${Badge} tone="plain">${known.role}<//>`],
            ['Signed in', html`<${When} at=${known.started_at} />`],
            ['It ends', html`${moment(known.ends_at)}, or earlier if you are away`],
        ]} />
    <//>`;
}

function Tokens() {
    const tokens = useResource(may('admin') ? '/v1/admin-tokens' : null);
    const [dialog, setDialog] = useState(null);
    const [made, setMade] = useState(null);
    if (!may('admin')) {
        return html`<${Card} title="Admin tokens"><p
            class="faint">Only an admin sees and makes the tokens that people and programs sign in with. Yours has the role ${session.value.role}.</p>
            <//>`;
    }
    const items = tokens.data?.items ?? [];
    return html`<${Card} title="Admin tokens"
        about="What people and programs show to administer keygate. Never an API key."
            actions=${html`<${ShowAs} make=${() =>
                [{ command: command('admin-token list'), curl: curl('GET', '/v1/admin-tokens') }]} />
                <button class="button" onClick=${() => setDialog('make')}><${Icon}
                    name="plus" />Create token</button>`}>
        <${Trouble} error=${tokens.error} again=${tokens.reload} />
        ${items.length > 0 && html`<${Scroll} label="Admin tokens"><table class="plain"><caption
            class="unseen">Admin tokens</caption>
            <thead><tr><th scope="col">Name</th><th scope="col">Role</th><th scope="col">Token</th><th
                scope="col">Made</th><th scope="col">Expires</th><th scope="col">Last used</th><th scope="col"><span
                class="unseen">Do</span></th></tr></thead>
            <tbody>${items.map((one) => html`<tr key=${one.id}><th scope="row">
                ${one.name}${one.name === session.value.token_name && html`<span class="under">yours</span>`}</th><td>
                ${title(one.role)}</td><td><${Copied} text=${one.masked} /></td>
                <td><${When} at=${one.created_at} /> <span class="under">${one.created_by}</span></td><td><${Ends}
                    at=${one.expires_at} /></td><td><${When} at=${one.last_used_at} none="never" /></td>
                <td class="number"><button class="button button-small button-danger"
                    onClick=${() => setDialog(one)}>Revoke…<span class="unseen"> ${one.name}</span></button></td>
                    </tr>`)}</tbody></table><//>`}
        ${dialog === 'make' && html`<${MakeToken} onClose=${() => setDialog(null)}
            onDone=${(created) => { setDialog(null); setMade(created); }} />`}
        ${dialog?.id && html`<${RevokeToken} known=${dialog} onClose=${() => setDialog(null)}
            onDone=${() => { setDialog(null); tokens.reload(); tell('The token is revoked.'); }} />`}
        ${made && html`<${TokenOnce} made=${made} onStored=${() => { setMade(null); tokens.reload(); }} />`}
    <//>`;
}

function MakeToken({ onClose, onDone }) {
    const [form, setForm] = useState({ name: '', role: 'viewer', ends: '90', date: '' });
    const set = (name) => (value) => setForm((before) => ({ ...before, [name]: value }));
    const expires_at = endOf(form.ends, form.date);
    const body = { name: form.name.trim(), role: form.role, ...(expires_at && { expires_at }) };
    return html`<${Act} title="Create an admin token" verb="Create token" ...${{ onClose, onDone }}
        act=${async () => (await ask('POST', '/v1/admin-tokens', { body })).data}
        lines=${() => [{ command: command('admin-token create', [form.name || 'NAME'],
            { role: form.role, expires: expires_at }), curl: curl('POST', '/v1/admin-tokens', { body }) }]}>
            ${(error) => html`
        <${TextField} label="Name" value=${form.name} onInput=${set('name')} required error=${error?.of?.('/name')}
            placeholder="anna" hint="A person or a program; the audit log names it so." />
        <${Choice} label="Role" value=${form.role} onInput=${set('role')} options=${ROLES} />
        <${EndField} choice=${form.ends} date=${form.date} onChoice=${set('ends')} onDate=${set('date')}
            error=${error?.of?.('/expires_at')} />`}
    <//>`;
}

function TokenOnce({ made, onStored }) {
    const [isStored, setIsStored] = useState(false);
    return html`<${Dialog} title="The token of “${made.admin_token.name}”" mustBeAnswered=${true}><div class="stack">
        <div class="banner banner-warn"><${Icon} name="warning" /><p>
            <strong>Copy it now.</strong> It is shown this once; keygate keeps only a digest.</p></div>
        <div class="secret"><output class="secret-text" aria-label="The new token">${made.secret}</output><${Copy}
            text=${made.secret} label="Copy token" kind="button-primary" /></div>
        <${Tick} label="I have stored it" value=${isStored} onInput=${setIsStored} />
        <div class="form-foot"><span class="push" /><button class="button button-primary" disabled=${!isStored}
            onClick=${onStored}>Done</button></div>
    </div><//>`;
}

function RevokeToken({ known, onClose, onDone }) {
    const [typed, setTyped] = useState('');
    const path = `/v1/admin-tokens/${encodeURIComponent(known.id)}`;
    return html`<${Act} title="Revoke the token “${known.name}”" verb="Revoke for good" kind="danger"
        isReady=${typed === known.name} ...${{ onClose, onDone }} act=${async () => (await ask('DELETE', path)).data}
        lines=${() => [{ command: command('admin-token revoke', [known.id]), curl: curl('DELETE', path) }]}>
        <p>Whoever uses it is refused from now on, and sessions that it began end.${known.name === session.value.token_name
            && ' It is your own: you will be signed out.'}</p>
        <${TextField} label=${html`Type <strong class="mono">${known.name}</strong> to confirm`} value=${typed}
            onInput=${setTyped} autofocus />
    <//>`;
}

/** Plain data as the lines of a YAML file. */
export function yaml(value, indent = '') {
    const isPlain = (one) => one === null || typeof one !== 'object';
    const word = (one) => (typeof one === 'string'
        ? (/^[\w./@-][\w./@ -]*$/.test(one) && !/^(true|false|null|yes|no|on|off|[\d.]+)$/i.test(one) ? one
        : JSON.stringify(one)) : String(one));
    if (isPlain(value)) return `${indent}${word(value)}\n`;
    if (Array.isArray(value)) {
        if (value.every(isPlain)) return `${indent}[${value.map(word).join(', ')}]\n`;
        return value.map((one) => `${indent}- ${yaml(one, `${indent}  `).slice(indent.length + 2)}`).join('');
    }
    const entries = Object.entries(value);
    if (entries.length === 0) return `${indent}{}\n`;
    return entries.filter(([, one]) => one !== null).map(([name, one]) =>
        (isPlain(one) || (Array.isArray(one) && one.every(isPlain)) || Object.keys(one).length === 0
        ? `${indent}${name}: ${yaml(one, '')}` : `${indent}${name}:\n${yaml(one, `${indent}  `)}`)).join('');
}
