/**
 * Making a key: what for, whose, what it may do, until when. What comes of it is shown once.
 *
 * A key belongs to a client. One that exists is chosen by its id; one that does not is made with the key, so that
 * nobody has to leave this form. "You" and "Machine" say who answers for a client made here: a machine goes with its
 * last key, and the keys of a person are switched off when that person leaves.
 */
import { html, useEffect, useRef, useState } from '../html.js';
import { ask, onceWord } from '../api.js';
import { command, curl, permissionsWord } from '../commands.js';
import { day } from '../format.js';
import { useResource } from '../resource.js';
import { go, route, within } from '../router.js';
import { useWords } from '../words.js';
import { mayWrite, session } from '../session.js';
import { Code } from '../parts/copy.js';
import { AreaField, Choice, FormError, SelectField, Submit, TextField, Tick } from '../parts/form.js';
import { Icon } from '../parts/icon.js';
import { Card, PageHead } from '../parts/page.js';
import { PermissionsField } from '../parts/permissions.js';
import { ShowAs } from '../parts/show_as.js';
import { Empty } from '../parts/state.js';
import { ShownOnce } from './key_dialogs.js';

const ENDS = [['30', '30 days'], ['90', '90 days'], ['365', '1 year'], ['date', 'On a date'], ['never', 'Never']];
const slug = (text) => text.toLowerCase().normalize('NFKD').replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0,
    48);
const list = (text) => text.split(/[\s,]+/).filter(Boolean);

/** When a key ends, for a choice and a date. */
export function endOf(choice, date) {
    if (choice === 'never') return undefined;
    if (choice === 'date') return date ? new Date(date).toISOString() : undefined;
    return new Date(Date.now() + Number(choice) * 86400 * 1000).toISOString().replace(/\.\d+Z/, 'Z');
}

/** The choice of an end, with a date when one is asked for. */
export function EndField({ choice, date, onChoice, onDate, error, options = ENDS }) {
    const end = endOf(choice, date);
    return html`<${Choice} label="Expires" isSmall=${true} value=${choice} onInput=${onChoice} error=${error}
            hint=${choice === 'never' ? 'A key without an end is good until somebody thinks of it.' : end
                && choice !== 'date' ? `On ${day(end)}.` : ''}
            options=${options.map(([value, label]) => ({ value, label }))} />
        ${choice === 'date' && html`<${TextField} label="Expires at" type="datetime-local" value=${date}
            onInput=${onDate} />`}`;
}

function start(query) {
    return {
        name: '', description: '', owner: query.client ? 'client' : 'you', client: query.client ?? '', clientType: '',
            tenant: '',
        type: query.type === 'publishable' ? 'publishable' : 'secret', environment: '', permissions: 'all', ends: '90',
            date: '',
        notBefore: '', networks: '', origins: '', isActive: true, isOwn: false, secret: '',
    };
}

function bodyOf(form, clientId, isNewClient) {
    const owner = form.owner === 'you' ? { kind: 'user', id: session.value.token_name }
        : form.owner === 'machine' ? { kind: 'machine', id: clientId } : undefined;
    const client = isNewClient
        ? { id: clientId, client_type: form.clientType, ...(form.tenant && { tenant: form.tenant }),
            ...(owner && { owner }) }
        : clientId;
    const isSecret = form.type === 'secret';
    return {
        name: form.name.trim(),
        client,
        ...(form.description && { description: form.description }),
        ...(!isSecret && { type: 'publishable' }),
        ...(form.environment && { environment: form.environment }),
        ...(endOf(form.ends, form.date) && { expires_at: endOf(form.ends, form.date) }),
        ...(form.notBefore && { not_before: new Date(form.notBefore).toISOString() }),
        ...(isSecret && form.permissions !== 'all' && { permissions: form.permissions }),
        ...(form.networks && { networks: list(form.networks) }),
        ...(!isSecret && form.origins && { origins: list(form.origins) }),
        ...(!form.isActive && { active: false }),
        ...(form.isOwn && { secret: form.secret }),
    };
}

function lines(body) {
    const { client, secret, ...rest } = body;
    const isNew = typeof client === 'object';
    const id = isNew ? client.id : client;
    const create = command('keys create', [body.name || 'NAME'], {
        client: id || 'ID', 'client-type': isNew && !client.owner && client.client_type, tenant: isNew && !client.owner
            && client.tenant,
        description: body.description, type: body.type, environment: body.environment,
            expires: body.expires_at?.slice(0, 19).concat('Z'),
        'not-before': body.not_before, permissions: permissionsWord(body.permissions), network: body.networks,
            origin: body.origins,
        disabled: body.active === false, 'secret-stdin': secret !== undefined,
    });
    const owner = isNew && client.owner && command('clients create', [id], {
        'client-type': client.client_type, tenant: client.tenant, owner: `${client.owner.kind}:${client.owner.id}`,
    });
    const shown = { ...rest, client, ...(secret !== undefined && { secret: '<the key>' }) };
    return [{ command: [owner, create].filter(Boolean).join('\n'), curl: curl('POST', '/v1/keys', { body: shown }) }];
}

/** The client of an id, if there is one, and others whose names are like it. */
async function find(id) {
    const { data } = await ask('GET', '/v1/clients', { query: { q: id, limit: 50 } });
    const found = data.items.find((one) => one.id === id);
    // Among very many that are like it, it may stand further down.
    const asked = id && !found && data.next_cursor
        ? await ask('GET', `/v1/clients/${encodeURIComponent(id)}`).catch(() => null) : null;
    return { id, known: found ?? asked?.data ?? null, like: data.items };
}

/** The same while somebody types; `isAsked` says whether it is about the id that stands there now. */
function useClient(id) {
    const [state, setState] = useState({ id: null, known: null, like: [] });
    useEffect(() => {
        let isStale = false;
        const timer = setTimeout(() => find(id).then((found) => isStale || setState(found), () => {}), 200);
        return () => {
            isStale = true;
            clearTimeout(timer);
        };
    }, [id]);
    return state.id === id ? { ...state, isAsked: true } : { id, known: null, like: state.like, isAsked: false };
}

/** The form. */
export function NewKey() {
    const [form, setForm] = useState(() => start(route.value.query));
    const [error, setError] = useState(null);
    const [isBusy, setIsBusy] = useState(false);
    const [created, setCreated] = useState(null);
    const sent = useRef({ text: '', once: '' });
    const set = (name) => (value) => setForm((before) => ({ ...before, [name]: value }));
    const known = useWords();
    const { data: settings } = useResource('/v1/settings');
    const me = session.value.token_name;
    const clientId = form.client || (form.owner === 'you' ? slug(me) : form.owner === 'machine' ? slug(form.name) : '');
    const client = useClient(clientId);
    const isNewClient = !client.known && clientId !== '' && (client.isAsked || form.clientType !== '');
    const policy = settings?.policy ?? {};
    if (!mayWrite()) {
        return html`<${PageHead} title="Create API key" back=${['#/keys', 'API keys']} />
            <${Empty} icon="shield" title="Your role may not make keys">
                <p>Ask somebody whose token has the role developer, or sign in
                with one.</p><//>`;
    }
    const body = bodyOf(form, clientId, isNewClient);
    const submit = async (event) => {
        event.preventDefault();
        if (isBusy) return;
        setIsBusy(true);
        setError(null);
        try {
            const { known: there } = client.isAsked ? client : await find(clientId);
            const wanted = bodyOf(form, clientId, !there);
            const text = JSON.stringify(wanted);
            if (sent.current.text !== text) sent.current = { text, once: onceWord() };
            const { data } = await ask('POST', '/v1/keys', { body: wanted, once: sent.current.once });
            // What was typed is not needed any more; a key of one's own above all.
            setForm(start({}));
            sent.current = { text: '', once: '' };
            setCreated(data);
        } catch (failed) {
            setError(failed);
        }
        setIsBusy(false);
    };
    const what = (pointer) => error?.of?.(pointer);
    return html`
        <${PageHead} title="Create API key" back=${['#/keys', 'API keys']}
            about="One key for each program that calls, with no more rights than it needs.">
            <${ShowAs} make=${() => lines(body)} />
        <//>
        <div class="form-page"><form class="stack form" onSubmit=${submit}>
            <${FormError} error=${error} />
            <${Card} title="What for">
                <${TextField} label="Name" value=${form.name} onInput=${set('name')} required maxlength="100"
                    error=${what('/name')}
                    placeholder="nightly export"
                        hint="What it is for, so that in a year somebody still knows. Unique within its tenant." />
                <${AreaField} label="Description" isOptional=${true} value=${form.description}
                    onInput=${set('description')} maxlength="500"
                    error=${what('/description')} />
            <//>
            <${Card} title="Whose">
                <${Choice} label="Owner" value=${form.owner}
                    onInput=${(owner) => setForm({ ...form, owner, client: '' })} options=${[
                    { value: 'you', icon: 'person', label: 'You', about: `Tied to ${me}; switched off when you leave` },
                    { value: 'machine', icon: 'machine', label: 'Machine',
                        about: 'A machine user of its own; goes with its last key' },
                    { value: 'client', icon: 'clients', label: 'A client', about: 'One that exists, or a new one' },
                ]} />
                <${TextField} label="Client" value=${form.client} onInput=${set('client')} placeholder=${clientId}
                    required=${!clientId}
                    error=${what('/client') ?? what('/client/id')}
                    suggestions=${client.like.map((one) =>
                        ({ value: one.id, label: `${one.name} · ${one.client_type}` }))}
                    hint=${client.known
                        ? `${client.known.name} of type ${client.known.client_type}, with ${client.known.keys} keys so far.`
                        : isNewClient ? 'There is no such client yet: it is made with the key.'
                            : 'The id of a client; type to search.'} />
                ${isNewClient && html`<div class="columns">
                    <${TextField} label="Client type" value=${form.clientType} onInput=${set('clientType')} required
                        suggestions=${known.clientTypes} error=${what('/client/client_type')}
                        hint=${known.clientTypes.length > 0 ? `Rules name ${known.clientTypes.join(', ')}.`
                            : 'The class of client that rules name.'} />
                    <${TextField} label="Tenant" isOptional=${true} value=${form.tenant} onInput=${set('tenant')}
                        error=${what('/client/tenant')}
                        hint="The customer or project it belongs to." />
                </div>`}
            <//>
            <${Card} title="Which kind">
                <${Choice} label="Type" value=${form.type} onInput=${set('type')} error=${what('/type')} options=${[
                    { value: 'secret', icon: 'shield', label: 'Secret',
                        about: 'For servers. Never in a browser or an app' },
                    { value: 'publishable', icon: 'key', label: 'Publishable',
                        about: 'May be seen by anybody; reaches only what admits it' },
                ]} />
                ${known.environments.length > 0
                    ? html`<${SelectField} label="Environment" value=${form.environment} onInput=${set('environment')}
                        options=${[['', 'The one this gateway serves'], ...known.environments.map((one) => [one, one])]}
                            error=${what('/environment')} />`
                    : html`<${TextField} label="Environment" isOptional=${true} value=${form.environment}
                        onInput=${set('environment')}
                        error=${what('/environment')}
                            hint="Where it is good, such as live; the one this gateway serves if empty." />`}
                ${form.type === 'publishable' && html`<${TextField} label="Web pages" isOptional=${true}
                    value=${form.origins}
                    onInput=${set('origins')} error=${what('/origins')} placeholder="https://shop.example"
                    hint="Only pages of these origins may use it; any page if empty." />`}
            <//>
            ${form.type === 'secret'
                ? html`<${Card} title="What it may do"><${PermissionsField} value=${form.permissions}
                    onInput=${set('permissions')}
                    error=${what('/permissions')} allIsAllowed=${!policy.require_permissions} /><//>`
                : html`<${Card} title="What it may do"><p
                    class="about">Publishable keys are not restricted one by one: they reach the
                    endpoints whose rules admit publishable keys, and no others.</p><//>`}
            <${Card} title="Until when">
                <${EndField} choice=${form.ends} date=${form.date} onChoice=${set('ends')} onDate=${set('date')}
                    error=${what('/expires_at')}
                    options=${policy.require_expiry ? ENDS.filter(([value]) => value !== 'never') : ENDS} />
                <details class="more" open=${!!(what('/networks') || what('/not_before') || what('/secret'))}>
                    <summary>More</summary>
                    <div class="stack">
                        <${Tick} label="Active" value=${form.isActive} onInput=${set('isActive')}
                            about="Otherwise it is refused until it is enabled." />
                        <div class="columns">
                            <${TextField} label="Not before" isOptional=${true} type="datetime-local"
                                value=${form.notBefore}
                                onInput=${set('notBefore')} error=${what('/not_before')} />
                            <${TextField} label="Networks" isOptional=${true} value=${form.networks}
                                onInput=${set('networks')} error=${what('/networks')}
                                placeholder="10.0.0.0/8" hint="Addresses it may be used from; anywhere if empty." />
                        </div>
                        <${Choice} label="API key" isSmall=${true} value=${form.isOwn ? 'own' : 'random'}
                            onInput=${(one) => setForm({ ...form, isOwn: one === 'own', secret: '' })}
                            options=${[{ value: 'random', label: 'Generate at random' },
                                { value: 'own', label: 'Use my own' }]} />
                        ${form.isOwn && html`<${TextField} label="The key" type="password" value=${form.secret}
                            onInput=${set('secret')} required
                            error=${what('/secret')} autocomplete="new-password"
                                hint="Any text without blanks. It is digested and never shown again." />`}
                    </div>
                </details>
            <//>
            <div class="form-foot form-foot-page">
                <a class="button" href="#/keys">Cancel</a>
                <${Submit} isBusy=${isBusy}><${Icon} name="key" />Create API key<//>
            </div>
        </form>
        <aside aria-label="The same as a command"><h3>The same as a command</h3><${Code} text=${lines(body)[0].command}
            label="Copy the command" /></aside></div>
        ${created && html`<${ShownOnce} title="“${created.key.name}” is ready" created=${created} places=${known.places}
            onStored=${() => { const { id } = created.key; setCreated(null); go(within('/keys', id)); }} />`}`;
}
