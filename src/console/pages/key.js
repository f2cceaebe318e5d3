/**
 * One key: what it is, what it was used for, its secrets, and what was done to it.
 */
import { html, useState } from '../html.js';
import { ask } from '../api.js';
import { command, curl } from '../commands.js';
import { moment, title, whole, words } from '../format.js';
import { tell } from '../notices.js';
import { useEvery, useResource } from '../resource.js';
import { address, go, within } from '../router.js';
import { useWords } from '../words.js';
import { mayWrite } from '../session.js';
import { Copied } from '../parts/copy.js';
import { Icon } from '../parts/icon.js';
import { Card, PageHead } from '../parts/page.js';
import { PermissionList } from '../parts/permissions.js';
import { ShowAs } from '../parts/show_as.js';
import { DayBars, Shares } from '../parts/spark.js';
import { Badge, Empty, Ends, Facts, Loading, Trouble, When } from '../parts/state.js';
import { Scroll } from '../parts/scroll.js';
import { History } from './audit.js';
import { Disable, Revoke, Rotate, ShownOnce } from './key_dialogs.js';
import { EditKey } from './key_edit.js';

const DAYS = 30;

/** The screen of a key. */
export function Key({ id }) {
    const path = `/v1/keys/${encodeURIComponent(id)}`;
    const { data: key, etag, error, reload } = useResource(path);
    const usage = useResource(`${path}/usage`, { days: DAYS });
    const limits = useResource(`${path}/limits`);
    const { data: client } = useResource(key && `/v1/clients/${encodeURIComponent(key.client)}`);
    const { places } = useWords();
    const [dialog, setDialog] = useState(null);
    const [created, setCreated] = useState(null);
    const [changes, setChanges] = useState(0);
    useEvery(5000, () => { if (!dialog && !created) { reload(true); usage.reload(true); limits.reload(true); } });

    if (!key) {
        return html`<${PageHead} title="API key" back=${['#/keys', 'API keys']} />
            ${error?.status === 404
                ? html`<${Empty} icon="search" title="There is no such key"
                    action=${html`<a class="button" href="#/keys">Show all keys</a>`}>
                    <p>It may have been removed from its file.</p><//>`
                : error ? html`<${Trouble} error=${error} again=${reload} />` : html`<${Loading} />`}`;
    }
    const done = (text) => () => {
        setDialog(null);
        setChanges(changes + 1);
        reload();
        tell(text);
    };
    const close = () => setDialog(null);
    const act = async (what, text, body = {}) => {
        try {
            await ask('POST', `${path}/${what}`, { body });
            done(text)();
        } catch (failed) {
            tell(failed.message, 'bad');
        }
    };
    const isOurs = key.source === 'store' && key.status !== 'revoked';
    const canChange = isOurs && mayWrite();
    return html`
        <${PageHead} title=${key.name} about=${key.description} back=${['#/keys', 'API keys']}>
            <${ShowAs} make=${() => lines(key, path)} />
            ${canChange && html`
                <button class="button" onClick=${() => setDialog('edit')}>Edit</button>
                ${key.active
                    ? html`<button class="button" onClick=${() => setDialog('disable')}>Disable</button>`
                    : html`<button class="button" onClick=${() =>
                        act('enable', 'The key is enabled.')}>Enable</button>`}
                <button class="button button-danger" onClick=${() => setDialog('revoke')}>Revoke</button>
                ${key.status !== 'expired' && html`<button class="button button-primary"
                    onClick=${() => setDialog('rotate')}><${Icon} name="rotate" />Rotate</button>`}`}
        <//>
        <${State} key=${key} known=${key} />
        <div class="grid-two">
            <${Card} title="Key">
                <${Facts} items=${[
                    ['Status', html`<${Badge} word=${key.status} />`],
                    ['Key', html`<${Copied} text=${key.masked} copies=${key.visible_key ?? key.masked} />`],
                    ['Id', html`<${Copied} text=${key.id} />`],
                    ['Type', title(key.type)],
                    ['Environment', key.environment ?? 'any'],
                    ['Permissions', html`<${PermissionList} permissions=${key.permissions} />`],
                    key.networks.length > 0 && ['Networks', key.networks.join(', ')],
                    key.origins.length > 0 && ['Web pages', key.origins.join(', ')],
                    ['Kept in', key.source === 'file' ? 'a file; change it there' : 'the store'],
                ]} />
            <//>
            <${Card} title="Whose, and until when">
                <${Facts} items=${[
                    ['Client', html`<a href=${address(within('/clients', key.client))}>
                        ${key.client_name || key.client}</a>`],
                    ['Client type', key.client_type],
                    key.tenant && ['Tenant', key.tenant],
                    client?.owner && ['Owner', html`<${Icon}
                        name=${client.owner.kind === 'machine' ? 'machine' : 'person'} /> ${client.owner.id}`],
                    ['Created', html`<${When} at=${key.created_at} /> by ${key.created_by}`],
                    key.not_before && ['Not before', moment(key.not_before)],
                    ['Expires', html`<${Ends} at=${key.expires_at} />`],
                    ['Last used', html`<${When} at=${key.last_used_at} none="never" />`],
                ]} />
            <//>
        </div>
        <${Use} usage=${usage} />
        <${Limits} left=${limits.data} />
        <${Secrets} known=${key} canChange=${canChange}
            onFinish=${(force) => act('rotation/finish', 'The rotation is finished: the old secret is refused.',
                { force })}
            onUndo=${(force) => act('rotation/undo', 'The rotation is taken back: the new secret is refused.',
                { force })} />
        <${Card} title="History"><${History} key=${changes} target=${key.id} /><//>
        ${dialog === 'edit' && html`<${EditKey} known=${key} etag=${etag} onClose=${close}
            onDone=${done('The key is changed.')} />`}
        ${dialog === 'disable' && html`<${Disable} known=${key} onClose=${close}
            onDone=${done('The key is disabled.')} />`}
        ${dialog === 'revoke' && html`<${Revoke} known=${key}
            goesWithClient=${client?.owner?.kind === 'machine' && client.keys === 1} onClose=${close}
            onDone=${() => { tell('The key is revoked.'); go('/keys'); }} />`}
        ${dialog === 'rotate' && html`<${Rotate} known=${key} onClose=${close}
            onDone=${(made) => { setDialog(null); setCreated(made); }} />`}
        ${created && html`<${ShownOnce} title="The new secret of “${key.name}”" created=${created} places=${places}
            onStored=${() => { setCreated(null); done('The key has a new secret.')(); }} />`}`;
}

function State({ known }) {
    if (known.status === 'disabled') {
        return html`<div class="banner banner-warn"><${Icon} name="warning" /><p>Disabled <${When}
            at=${known.disabled_at} />: callers who show
            it are refused. ${known.disabled_reason && html`Reason: <q>${known.disabled_reason}</q>`}</p></div>`;
    }
    if (known.status === 'revoked') return html`<div class="banner banner-bad"><${Icon} name="warning" />
        <p>Revoked for good. It stays on record.</p></div>`;
    if (known.status === 'expired') return html`<div class="banner banner-bad"><${Icon} name="warning" />
        <p>Expired <${When} at=${known.expires_at} />. Edit it to
        give it another end.</p></div>`;
    return null;
}

function Use({ usage }) {
    if (usage.error) return html`<${Trouble} error=${usage.error} again=${usage.reload} />`;
    const items = usage.data?.items ?? [];
    const today = new Date();
    const days = Array.from({ length: DAYS }, (_, index) => {
        const at = new Date(Date.UTC(today.getUTCFullYear(), today.getUTCMonth(),
            today.getUTCDate() - DAYS + 1 + index)).toISOString().slice(0, 10);
        const of = items.filter((item) => item.day.slice(0, 10) === at);
        return { day: at, admitted: sum(of, 'admitted'), refused: sum(of, 'refused') };
    });
    const endpoints = [...new Set(items.map((item) => item.endpoint))].map((name) => {
        const of = items.filter((item) => item.endpoint === name);
        return { name, admitted: sum(of, 'admitted'), refused: sum(of, 'refused') };
    }).sort((one, other) => other.admitted + other.refused - one.admitted - one.refused);
    return html`<${Card} title="Use"
        about=${`The last ${DAYS} days: ${whole(sum(days, 'admitted'))} requests admitted, ${whole(sum(days,
        'refused'))} refused.`}>
        ${items.length === 0 ? html`<p class="faint">
            ${usage.isLoading ? 'Loading…' : 'Not used yet. What it is used for shows here within a few seconds.'}</p>`
            : html`
            <${DayBars} days=${days} />
            <div class="grid-two use-below">
                <div><h3>By endpoint</h3><${Shares}
                    items=${endpoints.map(({ name, admitted, refused }) => [name, admitted + refused])} /></div>
                <details><summary>As a table</summary><div class="chart-table" tabindex="0" role="region"
                    aria-label="Use by day and endpoint"><table>
                    <caption class="unseen">Use by day and endpoint</caption>
                    <thead><tr><th scope="col">Day</th><th scope="col">Endpoint</th><th scope="col"
                        class="number">Admitted</th><th scope="col" class="number">Refused</th></tr></thead>
                    <tbody>${[...items].reverse().map((item) =>
                        html`<tr><th scope="row">${item.day.slice(0, 10)}</th><td>${item.endpoint}</td>
                        <td class="number">${whole(item.admitted)}</td><td class="number">${whole(item.refused)}</td>
                            </tr>`)}</tbody>
                </table></div></details>
            </div>`}
    <//>`;
}

const sum = (items, name) => items.reduce((all, item) => all + item[name], 0);

/** What is left of the limits that concern the key; nothing is shown where there are none. */
function Limits({ left }) {
    if (!left?.items.length) return null;
    return html`<${Card} title="Limits" about=${left.plan ? `By the plan ${left.plan} and what is written everywhere.` : ''}>
        <${Scroll} label="Limits of this key"><table class="plain"><caption
            class="unseen">Limits of this key</caption>
            <thead><tr><th scope="col">Limit</th><th scope="col">Admits</th><th scope="col">For each</th><th
                scope="col">Left</th><th scope="col">Whole again</th></tr></thead>
            <tbody>${left.items.map((limit) => html`<tr key=${limit.name}>
                <th scope="row">${limit.name}${limit.shadow && ' (only counts)'}</th><td>${limit.measure}</td>
                <td>${limit.for.map(words).join(', ')}</td>
                <td>${whole(limit.remaining)} left</td>
                <td>${limit.remaining === limit.limit ? 'now' : html`<${Ends} at=${limit.resets_at} />`}</td>
            </tr>`)}</tbody></table><//>
    <//>`;
}

function Secrets({ known, canChange, onFinish, onUndo }) {
    const { rotation } = known;
    return html`<${Card} title="Secrets"
        about="What callers show. A rotation adds one and gives the old one an end; only digests are kept."
        actions=${rotation && canChange && html`
            <button class="button" onClick=${() => onUndo(false)}>Take the rotation back</button>
            <button class="button" onClick=${() => onFinish(rotation.old_still_used)}>Finish it now</button>`}>
        ${rotation && html`<div class="banner ${rotation.old_still_used ? 'banner-warn' : ''}"><${Icon} name="rotate" />
            <p>
            ${rotation.is_pending ? 'Nobody has used the new secret yet. ' : rotation.old_still_used
                ? 'Somebody still uses the old secret: see who below, before it ends. '
                    : 'Nobody has used the old secret since the rotation. '}
            ${rotation.ends_at ? html`The old one ends <${Ends} at=${rotation.ends_at} />.`
                : 'The old one ends some time after the new one is first used.'}</p></div>`}
        <${Scroll} label="Secrets of this key"><table class="plain"><caption
            class="unseen">Secrets of this key</caption>
            <thead><tr><th scope="col">Secret</th><th scope="col">State</th><th scope="col">Made</th><th
                scope="col">Good until</th><th scope="col">Last used</th>
                <th scope="col">From</th><th scope="col">For</th></tr></thead>
            <tbody>${known.secrets.map((secret) => html`<tr key=${secret.created_at + secret.masked}>
                <th scope="row"><code>${secret.masked}</code></th><td><${Badge} word=${secret.state} /></td><td><${When}
                    at=${secret.created_at} /></td>
                <td><${Ends} at=${secret.valid_until} none="the key ends" /></td>
                <td><${When} at=${secret.last_use?.at} none="never" /></td><td>${secret.last_use?.address ?? '–'}</td>
                    <td>${secret.last_use?.endpoint ?? '–'}</td>
            </tr>`)}</tbody></table><//>
    <//>`;
}

function lines(key, path) {
    return [
        { title: 'Show it', command: command('keys show', [key.id], { days: `${DAYS}d` }),
            curl: `${curl('GET', path)}\n${curl('GET', `${path}/usage`, { query: { days: DAYS } })}` },
        { title: 'What was done to it', command: command('audit', [], { target: key.id }),
            curl: curl('GET', '/v1/audit', { query: { target: key.id } }) },
    ];
}
