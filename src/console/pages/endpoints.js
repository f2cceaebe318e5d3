/**
 * The rules in force, each with the place where it was written, and who can reach what.
 *
 * Rules are not changed here: they stand in a file that is kept in Git. This screen says where.
 */
import { html } from '../html.js';
import { command, curl } from '../commands.js';
import { count, words } from '../format.js';
import { useResource } from '../resource.js';
import { address, filter, route } from '../router.js';
import { Copied } from '../parts/copy.js';
import { Card, PageHead } from '../parts/page.js';
import { ShowAs } from '../parts/show_as.js';
import { Badge, Empty, Loading, Trouble } from '../parts/state.js';
import { Scroll } from '../parts/scroll.js';

/** The rules, or the table of who can reach what. */
export function Endpoints() {
    const { query } = route.value;
    const isAccess = query.show === 'access';
    return html`
        <${PageHead} title="Endpoints"
            about="What is protected, and by which rules. They are changed in their file; a change is in force within a second.">
            <${ShowAs} make=${() => [
                { title: 'The rules in force', curl: curl('GET', '/v1/endpoints') },
                    { title: 'Who can reach what', curl: curl('GET', '/v1/access') },
                { title: 'Whether a changed file is good', command: command('check') }]} />
            <a class="button" href="#/explain">Explain a request</a>
        <//>
        <div class="segments page-segments" role="group" aria-label="What is shown">
            <a class="segment" href="#/endpoints" aria-current=${isAccess ? undefined : 'true'}>Rules</a>
            <a class="segment" href="#/endpoints?show=access"
                aria-current=${isAccess ? 'true' : undefined}>Who can reach what</a>
        </div>
        ${isAccess ? html`<${Access} />` : html`<${Rules} wanted=${query.name} />`}`;
}

export const placeText = (place) => `${place.file}${place.line ? `:${place.line}` : ''}`;

function Rules({ wanted }) {
    const { data, error, isLoading, reload } = useResource('/v1/endpoints');
    if (error) return html`<${Trouble} error=${error} again=${reload} />`;
    if (!data) return isLoading && html`<${Loading} />`;
    const items = wanted ? data.items.filter((one) => one.name === wanted) : data.items;
    if (items.length === 0) {
        return html`<${Empty} icon="endpoints"
            title=${wanted ? `There is no endpoint “${wanted}”` : 'There are no endpoints'}
            action=${wanted && html`<a class="button" href="#/endpoints">Show all</a>`}>
                <p>Endpoints stand in <code>gateway.yaml</code>, below <code>endpoints</code>.</p><//>`;
    }
    const everywhere = String(items[0].credentials);
    return html`${wanted && html`<div class="filters"><button class="chip"
        onClick=${() => filter({ name: '' })}>endpoint: ${wanted} ×</button></div>`}
        ${items.map((endpoint) => html`<${Card} key=${endpoint.name} title=${endpoint.name}
            about=${html`<code>${endpoint.hosts.length > 0 ? endpoint.hosts.join(', ')
                : ''}${endpoint.path}</code> to <strong>${endpoint.upstream}</strong>
                ${endpoint.servers.length > 0 && html` (${endpoint.servers.map((server) =>
                    server.authority).join(', ')})`}`}
            actions=${html`<${Copied} text=${placeText(endpoint.place)} label="Copy the place" />`}>
            <${Scroll} label="Rules of ${endpoint.name}"><table class="plain rules"><caption
                class="unseen">Rules of ${endpoint.name}</caption>
                <thead><tr><th scope="col">For</th><th scope="col">Who</th><th scope="col">With</th><th
                    scope="col">And only if</th><th scope="col">Written at</th></tr></thead>
                <tbody>${endpoint.rules.map((rule) =>
                    html`<${RuleRow} key=${rule.route ?? ''} rule=${rule} />`)}</tbody></table><//>
            <p class="under rule-foot">${String(endpoint.credentials) !== everywhere
                && html`A key may stand in <${Places} names=${endpoint.credentials} />.`}
                ${endpoint.listeners.length > 0 && ` Reached on ${endpoint.listeners.join(', ')}.`}
                ${endpoint.path_prefix !== null && endpoint.path_prefix !== undefined
                    && html` The upstream sees <code>${endpoint.path_prefix}</code> in place of <code>
                    ${endpoint.path}</code>.`}
                ${endpoint.has_cors && ' Browsers may ask from other origins.'}</p>
        <//>`)}
        ${everywhere && html`<p class="under">Unless an endpoint says otherwise, a key may stand in <${Places}
            names=${everywhere.split(',')} />.</p>`}`;
}

const Places = ({ names }) => names.map((one, index) => html`${index > 0 ? ', ' : ''}<code>${one}</code>`);

function RuleRow({ rule }) {
    const more = [
        rule.expression && html`<code>${rule.expression}</code>`,
        rule.expression_backoffice && html`from the back office: <code>${rule.expression_backoffice}</code>`,
        rule.tenant && html`the tenant (${rule.tenant}) is the client's`,
        rule.networks.length > 0 && `from ${rule.networks.join(', ')}`,
        rule.https_only && 'over HTTPS',
        rule.require_user && 'with an end user',
    ].filter(Boolean);
    return html`<tr>
        <th scope="row"><code>${rule.route ?? rule.path}</code>
            ${!rule.route && html`<span class="under">
            ${rule.methods.length > 8 ? 'all methods' : rule.methods.join(', ')}</span>`}</th>
        <td>${rule.public ? html`<${Badge} tone="warn">anybody<//>` : rule.client_types
            ? html`<span class="tags">${rule.client_types.map((one) => html`<code class="tag">${one}</code>`)}</span>`
            : 'any client'}
            ${rule.key_types.length === 1 && rule.key_types[0] !== 'secret'
                && html`<span class="under">${rule.key_types[0]} keys</span>`}</td>
        <td>${rule.permissions.length > 0
            ? html`<ul class="bare">${rule.permissions.map((one) =>
            html`<li>${one.method && html`<span class="faint">${one.method} </span>`}
            <code>${one.all_of.join(', ') || 'nothing'}</code></li>`)}</ul>`
                : html`<span class="faint">no permission</span>`}</td>
        <td>${more.length > 0 ? html`<ul class="bare">${more.map((one) => html`<li>${one}</li>`)}</ul>`
            : html`<span class="faint">–</span>`}</td>
        <td><code>${placeText(rule.place)}</code></td>
    </tr>`;
}

const SIGNS = { yes: ['✓', 'yes', 'can'], conditions: ['◐', 'if', 'can if'], no: ['–', 'no', 'cannot'] };

function Access() {
    const { data, error, isLoading, reload } = useResource('/v1/access');
    if (error) return html`<${Trouble} error=${error} again=${reload} />`;
    if (!data) return isLoading && html`<${Loading} />`;
    if (data.rows.length === 0) return html`<${Empty} icon="endpoints" title="There are no endpoints">
        <p>Endpoints stand in <code>gateway.yaml</code>.</p><//>`;
    const callers = ['no key', ...data.client_types];
    return html`<${Card} kind="card-flush"><${Scroll}
        label="Who can reach what: endpoints and routes, by type of client"><table class="plain access">
            <caption class="unseen">Who can reach what: endpoints and routes, by type of client</caption>
            <thead><tr><th scope="col">Endpoint</th>
                ${callers.map((caller) => html`<th scope="col" class="middle">${caller}</th>`)}</tr></thead>
            <tbody>${data.rows.map((row) => html`<tr key=${`${row.endpoint} ${row.route}`}>
                <th scope="row"><a href=${address('/endpoints', { name: row.endpoint })}>
                    ${row.route ? html`<code>${row.route}</code>` : row.endpoint}</a>
                    <span class="under">${row.route ? row.endpoint : row.path} · ${placeText(row.place)}</span></th>
                ${row.cells.map((cell, index) =>
                    html`<${Cell} key=${callers[index]} ...${{ cell, row, caller: callers[index] }} />`)}
            </tr>`)}</tbody></table><//><//>
        <p class="under legend-line"><span class="access-yes">✓</span> with any good secret key <span
            class="access-if">◐</span> if something else is true; open it to see what
            <span class="access-no">–</span> never. ${count(data.client_types.length,
                'client type')} named by rules or held by clients.
            ${data.is_cut && html`<strong> There are more endpoints than fit: the rest is left out.</strong>`}</p>`;
}

function Cell({ cell, caller }) {
    const [sign, kind, word] = SIGNS[cell.access];
    if (cell.conditions.length === 0) return html`<td class="middle"><span class="access-${kind}" aria-hidden="true">
        ${sign}</span><span class="unseen">${word}</span></td>`;
    return html`<td class="middle"><details class="cell"><summary><span class="access-${kind}" aria-hidden="true">
        ${sign}</span><span class="unseen">${caller} ${word}</span></summary>
        <ul class="cell-why">${cell.conditions.map((one) =>
            html`<li><span class="faint">${words(one.kind)}</span> ${one.detail}</li>`)}</ul></details></td>`;
}
