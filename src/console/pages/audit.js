/**
 * Who did what, and when: the audit log, and the part of it that is about one thing.
 */
import { html, useState } from '../html.js';
import { command, curl } from '../commands.js';
import { moment, title, whole } from '../format.js';
import { useParts } from '../resource.js';
import { address, filter, route, within } from '../router.js';
import { FilterText } from '../parts/form.js';
import { Card, PageHead } from '../parts/page.js';
import { ShowAs } from '../parts/show_as.js';
import { Empty, Loading, Trouble, When } from '../parts/state.js';

const SPANS = { 1: 'Last day', 7: 'Last 7 days', 30: 'Last 30 days', 365: 'Last year' };

const ACTIONS = ['key', 'key.created', 'key.changed', 'key.rotated', 'key.disabled', 'key.enabled', 'key.revoked', 'client',
    'client.created', 'client.changed', 'client.disabled', 'client.deleted', 'session'];

function asked({ days, ...rest }) {
    // By the hour, so that the question stays the same while one looks.
    const hour = 3600 * 1000;
    const since = days && new Date(Math.floor((Date.now() - days * 24 * hour) / hour) * hour).toISOString().slice(0,
        19).concat('Z');
    return { ...rest, since };
}

/** The audit log. */
export function Audit() {
    const { query } = route.value;
    const list = useParts('/v1/audit', asked(query), 100);
    const to = (name) => (value) => filter({ [name]: value });
    const isFiltered = Object.values(query).some(Boolean);
    const lines = () => [
        { title: 'This list', command: command('audit', [],
            { target: query.target, actor: query.actor, action: query.action, within: query.days && `${query.days}d` }),
            curl: curl('GET', '/v1/audit', { query: asked(query) }) },
        { title: 'All of it, as JSON lines', command: command('audit', [], { export: true }),
            curl: curl('GET', '/v1/export/audit') },
    ];
    return html`
        <${PageHead} title="Audit"
            about="Every change, who made it and from where. Records hold no secrets and cannot be changed.">
            <${ShowAs} make=${lines} /><//>
        <search class="filters">
            <${FilterText} label="Actor" placeholder="Actor, token:ops" value=${query.actor ?? ''} onChange=${to('actor')} />
            <${FilterText} label="Action" placeholder="Action, key.created" list="audit-actions" value=${query.action ?? ''}
                onChange=${to('action')} />
            <datalist id="audit-actions">${ACTIONS.map((one) => html`<option value=${one} />`)}</datalist>
            <${FilterText} label="Target" placeholder="Target, an id" value=${query.target ?? ''} onChange=${to('target')} />
            <select class="input input-small" aria-label="When" value=${query.days ?? ''} onChange=${(event) => to('days')(event.target.value)}>
                <option value="">Ever</option>
                ${Object.entries(SPANS).map(([days, label]) =>
                    html`<option value=${days} selected=${query.days === days}>${label}</option>`)}
            </select>
            ${isFiltered && html`<a class="button button-quiet" href="#/audit">Clear</a>`}
        </search>
        <${Trouble} error=${list.error} again=${list.reload} />
        ${list.items.length > 0 ? html`<${Card} kind="card-flush"><${Entries} entries=${list.items}
            showsTarget=${true} />
                <${More} list=${list} /><//>`
            : list.isLoading ? html`<${Loading} />`
            : !list.error && html`<${Empty} icon="audit"
                title=${isFiltered ? 'Nothing was done that matches' : 'Nothing was done yet'}>
                <p>${isFiltered ? 'Take a filter away, or look further back.'
                    : 'Make a key, and the first record stands here.'}</p><//>`}`;
}

const More = ({ list }) => html`<p class="table-foot">${list.next
    ? html`<button class="button" onClick=${list.more}>${list.isLoading ? 'Loading…' : 'Show older ones'}</button>`
    : `${whole(list.items.length)} shown, that is all`}</p>`;

/** What was done to one thing. */
export function History({ target }) {
    const list = useParts('/v1/audit', { target }, 20);
    if (list.error) return html`<${Trouble} error=${list.error} again=${list.reload} />`;
    if (list.items.length === 0) return html`<p class="faint">
        ${list.isLoading ? 'Loading…' : 'Nothing on record: it stands in a file, and its history in Git.'}</p>`;
    return html`<${Entries} entries=${list.items} />${list.next && html`<${More} list=${list} />`}`;
}

const linkOf = ({ kind, target }) =>
    (kind === 'key' ? address(within('/keys', target)) : kind === 'client' ? address(within('/clients', target))
    : null);

const Entries = ({ entries, showsTarget }) => html`<ul class="entries">
    ${entries.map((entry) => html`<${Entry} key=${entry.number} entry=${entry} showsTarget=${showsTarget} />`)}
</ul>`;

const ACTS = { created: 'good', enabled: 'good', disabled: 'warn', revoked: 'bad', deleted: 'bad', rotated: 'plain' };

function Entry({ entry, showsTarget }) {
    const [isOpen, setIsOpen] = useState(false);
    const changes = differences(entry.before, entry.after);
    const link = linkOf(entry);
    const tone = ACTS[entry.action.split('.').pop()] ?? 'plain';
    return html`<li class="entry">
        <span class="entry-mark entry-${tone}" aria-hidden="true" />
        <div class="entry-words">
            <p><strong>${title(entry.action.replaceAll(/[._]/g, ' '))}</strong>
                ${showsTarget && html` ${link ? html`<a href=${link}>${entry.name ?? entry.target}</a>`
                    : html`<span>${entry.name ?? entry.target}</span>`}`}
                ${entry.note && html` <q>${entry.note}</q>`}</p>
            <p class="under">${entry.actor} (${entry.role})${entry.address ? ` from ${entry.address}` : ''} · <span
                title=${moment(entry.at)}><${When} at=${entry.at} /></span></p>
            ${isOpen && html`<table class="plain changes"><caption class="unseen">What changed</caption>
                <thead><tr><th scope="col">Field</th><th scope="col">Before</th><th scope="col">After</th></tr></thead>
                <tbody>${changes.map(([name, before, after]) =>
                    html`<tr key=${name}><th scope="row">${name}</th><td>${before}</td><td>${after}</td></tr>`)}</tbody>
                    </table>`}
        </div>
        ${changes.length > 0 && html`<button class="button button-small" aria-expanded=${isOpen ? 'true' : 'false'}
            onClick=${() => setIsOpen(!isOpen)}>
            ${isOpen ? 'Less' : 'What changed'}<span class="unseen">, record ${entry.number}</span></button>`}
    </li>`;
}

function differences(before, after) {
    const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])];
    const text = (value) => (value === undefined || value === null ? '–' : typeof value === 'object'
        ? JSON.stringify(value) : String(value));
    return names.map((name) => [name, text(before?.[name]), text(after?.[name])]).filter(([name, one, other]) =>
        one !== other && name !== 'version' && name !== 'updated_at');
}
