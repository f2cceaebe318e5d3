/**
 * All keys: found, filtered, ordered, and some of them switched off together.
 *
 * Filters stand in the address, so that a list can be kept and passed on. A key that is pasted to be found is not a
 * filter: it goes in a body, is digested by the server at once, and is gone from the field before the answer comes.
 * What looks like a key is treated so however it got into the field.
 */
import { html, useEffect, useRef, useState } from '../html.js';
import { ask } from '../api.js';
import { command, curl } from '../commands.js';
import { count, title, whole, words } from '../format.js';
import { tell } from '../notices.js';
import { useParts, useResource } from '../resource.js';
import { address, filter, go, route, within } from '../router.js';
import { useWords } from '../words.js';
import { mayWrite, session } from '../session.js';
import { Copied } from '../parts/copy.js';
import { Icon } from '../parts/icon.js';
import { Card, PageHead } from '../parts/page.js';
import { ShowAs } from '../parts/show_as.js';
import { Spark } from '../parts/spark.js';
import { Badge, Empty, Ends, Loading, Trouble, When } from '../parts/state.js';
import { Table } from '../parts/table.js';
import { DisableMany } from './key_dialogs.js';

/** Reports: a word in the address, what people call it, the filters of the API. */
const REPORTS = {
    expiring: ['Ending within 30 days', { expires_within_days: 30 }, { expiring: '30d' }],
    unused: ['Not used for 90 days', { unused_for_days: 90 }, { unused: '90d' }],
    never_used: ['Never used', { never_used: true }, { 'never-used': true }],
    old: ['Secret older than a year', { secret_older_than_days: 365 }, { older: '365d' }],
    unrestricted: ['Unrestricted', { unrestricted: true }, { unrestricted: true }],
    rotating: ['Being rotated', { rotating: true }, { rotating: true }],
};
const STATUSES = ['active', 'disabled', 'expired', 'not_yet_valid', 'revoked'];
const USAGE_DAYS = 14;

/** Whether a text may be a key, so that it must not stand in an address. */
export function mayBeKey(text) {
    const word = text.trim();
    if (/\s/.test(word) || word.startsWith('key_')) return false;
    return word.length >= 32 || (word.length >= 16 && /\d/.test(word) && /[a-z]/i.test(word));
}

/** What is asked of the API for the filters of an address. */
function asked({ report, order, ...rest }) {
    const [sort, direction] = (order ?? '').split(':');
    return { ...rest, ...REPORTS[report]?.[1], sort: sort || undefined, descending: direction === 'down' || undefined };
}

function lines(query) {
    const [sort, direction] = (query.order ?? '').split(':');
    const { q, client, client_type, tenant, environment, type, status, source } = query;
    return [{
        command: command('keys list', (q ?? '').split(' '), {
            client, 'client-type': client_type, tenant, environment, type, status, source,
            ...REPORTS[query.report]?.[2], sort, reverse: direction === 'down',
        }),
        curl: curl('GET', '/v1/keys', { query: asked(query) }),
    }];
}

/** The list. */
export function Keys() {
    const { query } = route.value;
    const list = useParts('/v1/keys', { ...asked(query), usage_days: USAGE_DAYS });
    const [picked, setPicked] = useState(() => new Map());
    const [isDisabling, setIsDisabling] = useState(false);
    const isFiltered = Object.entries(query).some(([name, value]) => name !== 'order' && value);
    useEffect(() => setPicked(new Map()), [JSON.stringify(query)]);
    const [by, direction] = (query.order ?? 'created:').split(':');
    const sort = {
        by,
        // The newest, and what was used last, stand first unless turned round.
        descending: (by === 'created' || by === 'last_used_at') !== (direction === 'down'),
        onSort: (next) => filter({ order: next === by && direction !== 'down' ? `${next}:down` : next === 'created' ? ''
            : next }),
    };
    return html`
        <${PageHead} title="API keys"
            about="Who may call, until when, and what for. A key is shown once, when it is made.">
            <${ShowAs} make=${() => lines(query)} />
            ${mayWrite() && html`<a class="button button-primary" href=${address('/new-key', { type: query.type })}>
                <${Icon} name="plus" />Create API key</a>`}
        <//>
        ${session.value.can_write === false
            && html`<div class="banner"><${Icon} name="info" /><p>Keys are read from files here.
            Name a store in <code>gateway.yaml</code> (<code>
                ${'keys: { store: keygate.db }'}</code>) to make and change keys in this
            console.</p></div>`}
        <${Filters} query=${query} />
        <${Trouble} error=${list.error} again=${list.reload} />
        ${picked.size > 0 && html`<div class="picked" role="region" aria-label="What to do with the chosen keys">
            <span>${count(picked.size, 'key')} chosen</span>
            <button class="button" onClick=${() => setPicked(new Map())}>Choose none</button>
            <button class="button button-danger" onClick=${() => setIsDisabling(true)}>Disable…</button>
        </div>`}
        ${list.items.length > 0
            ? html`<${Card} kind="card-flush">
                <${Table} caption="API keys" id=${(key) => key.id} rows=${list.items}
                    columns=${columns(picked, setPicked, list.items)}
                    sort=${sort} hasMore=${!!list.next} onEnd=${list.more} tall=${228} />
                <p class="table-foot" role="status">${list.isLoading ? 'Loading…' : list.next
                    ? `${whole(list.items.length)} shown; scroll for more` : count(list.items.length, 'key')}</p>
            <//>`
            : list.isLoading ? html`<${Loading} lines=${8} />`
            : !list.error && html`<${Nothing} isFiltered=${isFiltered} />`}
        ${isDisabling && html`<${DisableMany} keys=${[...picked.values()]} onClose=${() => setIsDisabling(false)}
            onDone=${() => { setIsDisabling(false); setPicked(new Map()); list.reload(); }} />`}`;
}

const Nothing = ({ isFiltered }) => (isFiltered
    ? html`<${Empty} icon="search" title="No key matches"
        action=${html`<a class="button" href="#/keys">Show all keys</a>`}>
        <p>Search finds words at the beginning of a name, description, id or client, and the last four characters of a key. Revoked
            keys are shown only when the status asks for them.</p><//>`
    : html`<${Empty} icon="key" title="There are no keys yet"
        action=${mayWrite() && html`<a class="button button-primary" href="#/new-key"><${Icon}
            name="plus" />Create API key</a>`}>
        <p>Callers need one to get past keygate. Make a key for each program that calls, so that each can be seen, limited and
            taken away by itself.</p><//>`);

function columns(picked, setPicked, rows) {
    const isChangeable = (key) => key.source === 'store' && key.status !== 'revoked';
    const turn = (key, isOn) => {
        const next = new Map(picked);
        if (isOn) next.set(key.id, key);
        else next.delete(key.id);
        setPicked(next);
    };
    const all = rows.filter(isChangeable);
    const pick = {
        label: 'Choose', kind: 'pick', width: '36px', unlabelled: true,
        head: html`<input type="checkbox" aria-label="Choose all that are shown"
            checked=${all.length > 0 && picked.size >= all.length}
            onChange=${(event) => setPicked(event.target.checked ? new Map(all.map((key) => [key.id, key]))
                : new Map())} />`,
        show: (key) => html`<input type="checkbox" aria-label="Choose ${key.name}" checked=${picked.has(key.id)}
            disabled=${!isChangeable(key)} onChange=${(event) => turn(key, event.target.checked)} />`,
    };
    return [
        mayWrite() && pick,
        { label: 'Name', sort: 'name', isHead: true, kind: 'wide', show: (key) => html`
            <a class="row-link" href=${address(within('/keys', key.id))}>${key.name}</a>
            <span class="under" title=${key.description ?? ''}>${key.description || key.id}</span>` },
        { label: 'Key', width: '148px', show: (key) => html`<${Copied} text=${key.masked} copies=${key.visible_key ?? key.masked}
            label=${key.visible_key ? 'Copy the key' : 'Copy what is shown of the key'} />` },
        { label: 'Client', kind: 'medium', width: '13%', show: (key) =>
            html`<a href=${address(within('/clients', key.client))}>${key.client_name || key.client}</a>
            <span class="under">${key.client_type}</span>` },
        { label: 'Type', width: '98px', show: (key) => html`<span>${title(key.type)}</span>
            <span class="under">${key.environment ?? 'any environment'}</span>` },
        { label: 'Status', width: '116px', show: (key) => html`<${Badge} word=${key.status} />
            ${key.rotation && html`<span class="under">${key.rotation.is_pending ? 'new secret unused'
                : key.rotation.old_still_used ? 'old secret in use' : 'rotating'}</span>`}` },
        { label: 'Created', sort: 'created', kind: 'spare', width: '100px', show: (key) => html`<${When} at=${key.created_at} />` },
        { label: 'Expires', sort: 'expires_at', width: '108px', show: (key) => html`<${Ends} at=${key.expires_at} />` },
        { label: 'Last used', sort: 'last_used_at', width: '96px', show: (key) =>
            html`<${When} at=${key.last_used_at} none="never" />` },
        { label: 'Use', kind: 'use', width: '100px', show: (key) => html`${key.usage
            && html`<${Spark} values=${key.usage.admitted.map((admitted, index) =>
                admitted + key.usage.refused[index])} />`}` },
    ].filter(Boolean);
}

function Filters({ query }) {
    const [text, setText] = useState(query.q ?? '');
    const [hint, setHint] = useState('');
    const timer = useRef(0);
    const field = useRef(null);
    useEffect(() => setText(query.q ?? ''), [query.q]);
    const known = useWords({ isLater: true });

    const find = async (secret) => {
        clearTimeout(timer.current);
        setText('');
        if (field.current) field.current.value = '';
        filter({ q: '' });
        setHint('Looking for this key…');
        try {
            const { found } = (await ask('POST', '/v1/lookup', { body: { secrets: [secret] } })).data;
            if (found.length === 0) {
                setHint('This gateway holds no such key. It may have been cut off, or belong to another environment.');
                return;
            }
            tell(`This key is “${found[0].key.name}”.`);
            go(within('/keys', found[0].key.id));
        } catch (error) {
            setHint(error.message);
        }
    };
    const change = (next) => {
        setText(next);
        setHint('');
        clearTimeout(timer.current);
        if (mayBeKey(next)) find(next.trim());
        else timer.current = setTimeout(() => filter({ q: next.trim() }), 250);
    };
    const paste = (event) => {
        const pasted = event.clipboardData?.getData('text').trim() ?? '';
        if (!mayBeKey(pasted)) return;
        event.preventDefault();
        find(pasted);
    };
    const set = (name) => (event) => filter({ [name]: event.target.value });
    const select = (name, label, options) =>
        html`<select class="input input-small" aria-label=${label} value=${query[name] ?? ''}
        onChange=${set(name)}><option value="">${label}: all</option>
        ${options.map(([value, text]) =>
            html`<option value=${value} selected=${query[name] === value}>${text}</option>`)}</select>`;
    const others = ['client', 'tenant', 'source'].filter((name) => query[name]);
    return html`<search class="filters">
        <div class="search-field"><${Icon} name="search" />
            <input class="input" type="search" ref=${field} aria-label="Search keys"
                placeholder="Search, or paste a key"
                autocomplete="off" spellcheck=${false} value=${text} onInput=${(event) => change(event.target.value)}
                    onPaste=${paste} />
        </div>
        <div class="segments" role="group" aria-label="Type of key">
            ${[['', 'All'], ['secret', 'Secret'], ['publishable', 'Publishable']].map(([value, label]) => html`
                <button class="segment" aria-pressed=${(query.type ?? '') === value ? 'true' : 'false'}
                    onClick=${() => filter({ type: value })}>
                    ${label}</button>`)}
        </div>
        ${select('status', 'Status', STATUSES.map((word) => [word, title(words(word))]))}
        ${select('client_type', 'Client type', known.clientTypes.map((word) => [word, word]))}
        ${known.environments.length > 0
            && select('environment', 'Environment', known.environments.map((word) => [word, word]))}
        ${select('report', 'Report', Object.entries(REPORTS).map(([word, [label]]) => [word, label]))}
        ${others.map((name) => html`<button class="chip" onClick=${() => filter({ [name]: '' })}>
            ${words(name)}: ${query[name]}<${Icon} name="close" /><span class="unseen">, take this filter away</span>
                </button>`)}
        ${Object.keys(query).some((name) => name !== 'order')
            && html`<a class="button button-quiet" href="#/keys">Clear</a>`}
        <p class="filter-hint" role="status">${hint || (query.type === 'publishable'
            ? 'Publishable keys may stand in web pages and apps. They reach only the endpoints that admit them.'
            : query.type === 'secret' ? 'Secret keys belong on servers, and never into a browser or an app.' : '')}</p>
    </search>`;
}
