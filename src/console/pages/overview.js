/**
 * How the gateway does, now: what passes and what is refused and why, how fast, what stands behind it, and what needs
 * somebody's attention.
 *
 * It asks again every five seconds for what has been added since. That is no activity of a person: an overview on a
 * wall ends with its session like any other page.
 */
import { html, useEffect, useRef, useState } from '../html.js';
import { ask } from '../api.js';
import { command, curl } from '../commands.js';
import { count, milliseconds, percent, short, span, title, whole, words } from '../format.js';
import { tell } from '../notices.js';
import { useEvery, useResource } from '../resource.js';
import { address, within } from '../router.js';
import { may, mayWrite } from '../session.js';
import { Chart } from '../parts/chart.js';
import { Code } from '../parts/copy.js';
import { Icon } from '../parts/icon.js';
import { Card, PageHead } from '../parts/page.js';
import { ShowAs } from '../parts/show_as.js';
import { Shares } from '../parts/spark.js';
import { Badge, Ends, Loading, Trouble, When } from '../parts/state.js';
import { Scroll } from '../parts/scroll.js';

const EVERY = 5000;
const KEPT = 180;

/** The overview with all samples, those of before and those that are new. */
function useOverview() {
    const [state, setState] = useState({ data: null, samples: [], error: null });
    const last = useRef(0);
    const read = async (isBackground) => {
        try {
            const { data } = await ask('GET', '/v1/overview',
                { query: { after: last.current || undefined }, isBackground });
            last.current = data.history.samples.at(-1)?.number ?? last.current;
            setState((before) => ({ data, samples: [...before.samples, ...data.history.samples].slice(-KEPT),
                error: null }));
        } catch (error) {
            setState((before) => ({ ...before, error }));
        }
    };
    useEffect(() => {
        read(false);
    }, []);
    useEvery(EVERY, () => read(true));
    return { ...state, reload: () => read(false) };
}

/** The screen. */
export function Overview() {
    const { data, samples, error, reload } = useOverview();
    const expiring = useResource('/v1/keys', { sort: 'expires_at', expires_within_days: 30, limit: 5 });
    return html`
        <${PageHead} title="Overview" about=${data
            && `keygate ${data.version}, running for ${span(data.uptime_seconds)}. Requests of the last ${span(data.recent.seconds)}.`}>
            ${data && html`<span class="live ${error ? 'live-lost' : ''}"><span class="live-mark" aria-hidden="true" />
                ${error ? 'No answer' : 'Live'}</span>`}
            <${ShowAs} make=${() => [{ curl: curl('GET', '/v1/overview') },
                { title: 'Whether it is well', command: command('healthcheck'),
                curl: curl('GET', '/readyz', { query: { verbose: 1 } }) }]} />
        <//>
        <${Trouble} error=${error} again=${reload} />
        ${!data ? !error && html`<${Loading} lines=${10} />` : html`
            <${Attention} data=${data} onReload=${reload} />
            <${Tiles} recent=${data.recent} />
            <${Traffic} samples=${samples} every=${data.history.every_seconds} />
            <div class="grid-two">
                <${Card} title="Refused, by reason" about="In the last minutes">
                    ${data.recent.refusals.length > 0
                        ? html`<${Shares} tone="bad" items=${data.recent.refusals.slice(0,
                            8).map(({ name, count: number }) => [title(words(name)), number])} />`
                        : html`<p class="faint">Nothing was refused${data.traffic.refused > 0
                            ? `; ${whole(data.traffic.refused)} since the start` : ''}.</p>`}
                <//>
                <${Card} title="Requests, by endpoint" about="Since the start">
                    ${data.traffic.endpoints.length > 0
                        ? html`<${Shares} items=${data.traffic.endpoints.slice(0, 8).map(({ name, count: number }) =>
                            [name, number, address('/endpoints', { name })])} />`
                        : html`<p class="faint">No request has come yet. Callers reach keygate at the addresses that <a
                            href="#/settings">Settings</a> lists.</p>`}
                <//>
            </div>
            <div class="grid-two grid-loose">
                <${Upstreams} upstreams=${data.upstreams} />
                <div class="stack">
                    <${KeysCard} keys=${data.keys} expiring=${expiring} />
                    <${Configuration} state=${data.configuration} />
                </div>
            </div>`}`;
}

function Attention({ data, onReload }) {
    const { last_reload: last } = data.configuration;
    const unwell = data.upstreams.filter((upstream) =>
        upstream.servers.some((server) => server.unhealthy > 0 || server.ejected_by_workers > 0));
    return html`
        ${last?.outcome === 'rejected' && html`<section class="banner banner-bad banner-tall" role="alert"><${Icon}
            name="warning" />
            <div class="banner-words"><strong>The last change of the configuration was refused <${When}
                at=${last.at} />; what was in force before still is.</strong>
                <${Code} text=${last.problem ?? ''} label="Copy what is wrong" />
                <p>Mend the file; keygate reads it again by itself. <code>keygate check</code> says the same before you save it.</p>
                    </div></section>`}
        ${data.is_draining && html`<div class="banner banner-warn"><${Icon} name="warning" />
            <p>This process finishes its work and then stops.</p></div>`}
        ${unwell.length > 0 && html`<div class="banner banner-bad" role="alert"><${Icon} name="warning" /><p>
            ${unwell.map((one) => one.name).join(', ')}
            ${unwell.length === 1 ? ' is' : ' are'} not well: see Upstreams.</p></div>`}
        ${!data.is_ready && !data.is_draining
            && html`<div class="banner banner-bad" role="alert"><${Icon} name="warning" />
            <div class="banner-words"><p>keygate is not ready to judge requests.</p></div><button class="button"
                onClick=${onReload}>Look again</button></div>`}`;
}

const Tile = ({ label, value, about, tone = '' }) =>
    html`<div class="tile"><dt>${label}</dt><dd class="tile-value ${tone}">${value}</dd><dd class="under">${about}</dd>
    </div>`;

const Tiles = ({ recent }) => html`<dl class="tiles">
    <${Tile} label="Requests" value=${short(recent.requests)}
        about=${`${recent.requests_per_second.toFixed(recent.requests_per_second < 10 ? 1 : 0)} a second`} />
    <${Tile} label="Admitted" value=${short(recent.admitted)}
        about=${`${percent(recent.admitted, recent.admitted + recent.refused)} of decisions`} />
    <${Tile} label="Refused" value=${short(recent.refused)}
        about=${`${percent(recent.refused, recent.admitted + recent.refused)} of decisions`}
        tone=${recent.refused > 0 ? 'tone-warn' : ''} />
    <${Tile} label="Failed" value=${short(recent.server_errors)} about="answers of 500 and more"
        tone=${recent.server_errors > 0 ? 'tone-bad' : ''} />
    <${Tile} label="Median time" value=${milliseconds(recent.latency.p50)}
        about=${`99th percentile ${milliseconds(recent.latency.p99)}`} />
    <${Tile} label="Of which keygate" value=${milliseconds(recent.decision_latency.p50)} about="to decide" />
</dl>`;

function Traffic({ samples, every }) {
    const at = samples.map((sample) => sample.at_millis);
    const rate = (name) => samples.map((sample) => (sample.seconds > 0 ? sample[name] / sample.seconds : null));
    if (samples.length < 2) {
        return html`<${Card} title="Traffic"><p
            class="faint">The first lines show within ${span(2 * every)}: a sample is taken every ${span(every)}.</p>
            <//>`;
    }
    const perSecond = (value) => (value >= 100 || Number.isInteger(value) ? whole(value)
        : value.toFixed(value < 1 ? 2 : 1));
    return html`<div class="grid-two">
        <${Card} title="Traffic" about="A second">
            <${Chart} label="Requests a second by verdict" at=${at} format=${perSecond} series=${[
                { label: 'Admitted', tone: 'good', values: rate('admitted') },
                { label: 'Refused', tone: 'warn', values: rate('refused') },
                { label: 'Failed', tone: 'bad', values: rate('server_errors') },
            ]} /><//>
        <${Card} title="Latency" about="Whole requests">
            <${Chart} label="Time of requests" at=${at} format=${milliseconds} series=${[
                { label: 'Median', tone: 'accent', values: samples.map((sample) => sample.latency.p50) },
                { label: '99th percentile', tone: 'plain', values: samples.map((sample) => sample.latency.p99) },
            ]} /><//>
    </div>`;
}

const Upstreams = ({ upstreams }) =>
    html`<${Card} title="Upstreams" about="What stands behind keygate; since the start">
    <${Scroll} label="Upstreams"><table class="plain"><caption class="unseen">Upstreams</caption>
        <thead><tr><th scope="col">Name</th><th scope="col">State</th><th scope="col" class="number">Requests</th><th
            scope="col" class="number">Median</th></tr></thead>
        <tbody>${upstreams.map((upstream) => {
            const isUnwell = upstream.servers.some((server) => server.unhealthy > 0);
            const isLeftAlone = upstream.servers.some((server) => server.ejected_by_workers > 0);
            return html`<tr key=${upstream.name}><th scope="row">${upstream.name}
                <span class="under">${upstream.servers.map((server) => server.authority).join(', ')
                    || words(upstream.kind)}</span></th>
                <td>${isUnwell ? html`<${Badge} word="unhealthy" />` : isLeftAlone
                    ? html`<${Badge} tone="warn">left alone<//>`
                    : html`<${Badge} tone="good">${upstream.servers.some((server) => server.is_checked) ? 'healthy'
                    : 'in use'}<//>`}
                    ${upstream.failures.length > 0 && html`<span class="under">
                        ${upstream.failures.slice(0, 2).map(({ name, count: number }) =>
                        `${words(name)} ${whole(number)}`).join(', ')}</span>`}</td>
                <td class="number">${short(upstream.requests)}</td><td class="number">
                    ${milliseconds(upstream.latency.p50)}</td></tr>`;
        })}</tbody></table><//>
<//>`;

const KeysCard = ({ keys, expiring }) =>
    html`<${Card}
    title="Keys" about=${`${whole(keys.active)} good, ${whole(keys.disabled)} disabled, ${whole(keys.expired)} expired`}
    actions=${html`<a class="button button-small"
        href=${address('/keys', { report: 'expiring' })}>Ending within 30 days</a>`}>
    ${expiring.data?.items.length > 0
        ? html`<ul class="rows">${expiring.data.items.map((key) =>
            html`<li key=${key.id}><a href=${address(within('/keys', key.id))}>${key.name}</a><${Ends}
            at=${key.expires_at} /></li>`)}</ul>`
        : keys.active + keys.disabled + keys.expired === 0 && mayWrite()
            ? html`<p class="faint">There are no keys yet. <a href="#/new-key">Make the first one.</a></p>`
            : html`<p class="faint">No key ends within 30 days.</p>`}
<//>`;

function Configuration({ state }) {
    const [isBusy, setIsBusy] = useState(false);
    const reload = async () => {
        setIsBusy(true);
        try {
            const { data } = await ask('POST', '/v1/reload');
            tell(data.outcome === 'applied' ? 'The configuration was read and is in force.'
                : `The configuration was read: ${words(data.outcome)}.`);
        } catch (error) {
            tell(error.message, 'bad');
        }
        setIsBusy(false);
    };
    return html`<${Card} title="Configuration"
        actions=${may('admin') && html`<button class="button button-small" aria-disabled=${isBusy ? 'true' : undefined}
        onClick=${reload}>Read it again</button>`}>
        <dl class="facts"><div><dt>In force</dt>
            <dd>Generation ${state.generation}, ${count(state.endpoints, 'endpoint')}</dd></div>
            <div><dt>Since</dt><dd><${When} at=${state.loaded_at} /></dd></div>
            <div><dt>Last reload</dt><dd>${state.last_reload
                ? html`<${Badge} word=${state.last_reload.outcome} /> <${When} at=${state.last_reload.at} />`
                : 'none since the start'}</dd></div></dl>
    <//>`;
}
