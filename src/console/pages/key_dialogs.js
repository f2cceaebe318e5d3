/**
 * What changes a key, each in a dialog: rotate, disable, revoke; and a key that is shown once.
 *
 * Each says beforehand what will happen to whoever uses the key, and shows the same as a command.
 */
import { html, useEffect, useState } from '../html.js';
import { ask, onceWord } from '../api.js';
import { command, curl } from '../commands.js';
import { count, moment, span } from '../format.js';
import { tell } from '../notices.js';
import { Dialog } from '../parts/dialog.js';
import { Code, Copy } from '../parts/copy.js';
import { AreaField, Choice, FormError, Submit, TextField, Tick } from '../parts/form.js';
import { Icon } from '../parts/icon.js';
import { ShowAs } from '../parts/show_as.js';
import { Marked, When } from '../parts/state.js';

/** A dialog around a form: `act` does it and may throw, `onDone` is told what came of it. */
export function Act({ title, verb, kind = 'primary', act, onClose, onDone, isReady = true, lines, children }) {
    const [error, setError] = useState(null);
    const [isBusy, setIsBusy] = useState(false);
    const submit = async (event) => {
        event.preventDefault();
        if (isBusy || !isReady) return;
        setIsBusy(true);
        setError(null);
        try {
            onDone(await act());
        } catch (failed) {
            setError(failed);
            setIsBusy(false);
        }
    };
    return html`<${Dialog} title=${title} onClose=${onClose}>
        <form class="stack" onSubmit=${submit}>
            <${FormError} error=${error} />
            ${typeof children === 'function' ? children(error) : children}
            <div class="form-foot">
                ${lines && html`<${ShowAs} make=${lines} />`}
                <span class="push" />
                <button type="button" class="button" onClick=${onClose}>Cancel</button>
                <${Submit} isBusy=${isBusy} kind=${kind} disabled=${!isReady}>${verb}<//>
            </div>
        </form>
    <//>`;
}

const GRACES = [['0', 'Now'], ['3600', '1 hour'], ['86400', '24 hours'], ['604800', '7 days'], ['other', 'Other']];

/** Gives a key another secret. */
export function Rotate({ known, onClose, onDone }) {
    const [grace, setGrace] = useState('86400');
    const [days, setDays] = useState('14');
    const [isPending, setIsPending] = useState(false);
    const [once] = useState(onceWord);
    const seconds = grace === 'other' ? Math.round(Number(days) * 86400) : Number(grace);
    const body = { grace_seconds: seconds, ...(isPending && { pending: true }) };
    const path = `/v1/keys/${encodeURIComponent(known.id)}/rotate`;
    return html`<${Act} title="Rotate “${known.name}”" verb="Make the new secret" ...${{ onClose, onDone }}
        isReady=${Number.isFinite(seconds) && seconds >= 0}
        act=${async () => (await ask('POST', path, { body, once })).data}
        lines=${() => [{ command: command('keys rotate', [known.id], { grace: `${seconds}s`, pending: isPending }),
            curl: curl('POST', path, { body }) }]}>
        <p>The key keeps its id, its rights and its history; only what callers show changes. The new secret is shown once.</p>
        <${Choice} label="How long is the old secret good?" isSmall=${true} value=${grace} onInput=${setGrace}
            options=${GRACES.map(([value, label]) => ({ value, label }))} />
        ${grace === 'other' && html`<${TextField} label="Days" value=${days} onInput=${setDays} inputmode="decimal" />`}
        <${Tick} label="Start counting when the new secret is first used" value=${isPending} onInput=${setIsPending}
            about="Nobody is cut off before the new secret has arrived where it is needed." />
        <div class="banner"><${Icon} name="info" /><p>${seconds === 0 && !isPending
            ? 'Whoever still shows the old secret is refused from now on.'
            : isPending ? `The old secret ends ${span(seconds)} after the new one was first used.`
            : `Both are good for ${span(seconds)}, until ${moment(new Date(Date.now() + seconds * 1000).toISOString())}.`}
            ${known.last_used_at && html` It was last used <${When} at=${known.last_used_at} />.`}</p></div>
    <//>`;
}

/** Switches a key off. */
export function Disable({ known, onClose, onDone }) {
    const [reason, setReason] = useState('');
    const path = `/v1/keys/${encodeURIComponent(known.id)}/disable`;
    const body = reason ? { reason } : {};
    return html`<${Act} title="Disable “${known.name}”" verb="Disable" kind="danger" ...${{ onClose, onDone }}
        act=${async () => (await ask('POST', path, { body })).data}
        lines=${() => [{ command: command('keys disable', [known.id], { reason }),
            curl: curl('POST', path, { body }) }]}>${(error) => html`
        <p>The next request with this key is refused, and what it has open is cut. You can enable it again at any time.</p>
        <${AreaField} label="Reason" isOptional=${true} value=${reason} onInput=${setReason}
            error=${error?.of?.('/reason')}
            hint="For the audit log, and for whoever wonders why it is refused." />`}
    <//>`;
}

/** Switches several keys off. */
export function DisableMany({ keys, onClose, onDone }) {
    const [reason, setReason] = useState('');
    const body = { ids: keys.map((key) => key.id), ...(reason && { reason }) };
    return html`<${Act} title="Disable ${count(keys.length, 'key')}" verb="Disable ${count(keys.length, 'key')}"
        kind="danger" onClose=${onClose}
        act=${async () => (await ask('POST', '/v1/disable', { body })).data}
        onDone=${(report) => { tell(doneWith(report), report.refused > 0 ? 'bad' : 'good'); onDone(); }}
        lines=${() => [{ command: keys.map((key) => command('keys disable', [key.id], { reason })).join('\n'),
            curl: curl('POST', '/v1/disable', { body }) }]}>
        <p>The next request with any of them is refused. You can enable each again at any time.</p>
        <ul class="short-list">${keys.slice(0, 12).map((key) => html`<li>${key.name} <code>${key.masked}</code></li>`)}
            ${keys.length > 12 && html`<li>and ${keys.length - 12} more</li>`}</ul>
        <${AreaField} label="Reason" isOptional=${true} value=${reason} onInput=${setReason}
            hint="For the audit log." />
    <//>`;
}

function doneWith({ disabled, refused, results }) {
    const first = results.find((result) => result.detail);
    return `${count(disabled, 'key')} disabled.${refused > 0
        ? ` ${count(refused, 'key')} could not be: ${first?.detail}` : ''}`;
}

/** Takes a key out of force for good; its name is typed, so that it is the right one. */
export function Revoke({ known, goesWithClient, onClose, onDone }) {
    const [typed, setTyped] = useState('');
    const [reason, setReason] = useState('');
    const path = `/v1/keys/${encodeURIComponent(known.id)}`;
    const query = reason ? { reason } : undefined;
    const day = 86400 * 1000;
    const isRecent = known.last_used_at && Date.now() - new Date(known.last_used_at) < day;
    return html`<${Act} title="Revoke “${known.name}”" verb="Revoke for good" kind="danger" ...${{ onClose, onDone }}
        isReady=${typed === known.name} act=${async () => (await ask('DELETE', path, { query })).data}
        lines=${() => [{ command: command('keys revoke', [known.id], { reason }),
            curl: curl('DELETE', path, { query }) }]}>
        <p>The key is refused from the next request on, and what it has open is cut. <strong>This cannot be undone</strong>; replace
            the key in the programs that use it first.</p>
        ${isRecent && html`<div class="banner banner-warn"><${Icon} name="warning" /><p>It is in use: last seen
            <${When} at=${known.last_used_at} />. To see who still needs it, disable it first.</p></div>`}
        ${goesWithClient && html`<div class="banner banner-warn"><${Icon} name="machine" />
            <p>It is the last key of a machine: the client
            <strong> ${known.client_name}</strong> is removed with it.</p></div>`}
        <${TextField} label=${html`Type <strong class="mono">${known.name}</strong> to confirm`} value=${typed}
            onInput=${setTyped} autofocus />
        <${TextField} label="Reason" isOptional=${true} value=${reason} onInput=${setReason} />
    <//>`;
}

const PLACES = {
    header: (name, key) => `curl -H '${name}: ${key}' `,
    bearer: (_, key) => `curl -H 'Authorization: Bearer ${key}' `,
    cookie: (name, key) => `curl --cookie '${name}=${key}' `,
};

/** A key, the only time it is seen. It is in the memory of this page until it is said to be stored. */
export function ShownOnce({ title, created, places, origin, onStored }) {
    const [isStored, setIsStored] = useState(false);
    const [place, setPlace] = useState(0);
    const { secret, key, warnings } = created;
    useEffect(() => {
        const hold = (event) => event.preventDefault();
        addEventListener('beforeunload', hold);
        return () => removeEventListener('beforeunload', hold);
    }, []);
    const all = places?.length ? places : [{ kind: 'header', name: 'x-api-key' }, { kind: 'bearer', name: 'bearer' }];
    const { kind, name } = all[place] ?? all[0];
    const variable = `${(key.name.match(/[a-z0-9]+/gi) ?? ['api']).join('_').toUpperCase()}_KEY`;
    return html`<${Dialog} title=${title} size="wide" mustBeAnswered=${true}>
        <div class="stack">
            ${secret ? html`<div class="banner banner-warn"><${Icon} name="warning" /><p>
                <strong>Copy this key now and keep it in a safe
                place.</strong> It is shown this once: keygate keeps only a digest of it. If it is lost, make another.</p>
                    </div>
            <div class="secret"><output class="secret-text" aria-label="The new key">${secret}</output>
                <${Copy} text=${secret} label="Copy key" kind="button-primary" /></div>
            <details class="use"><summary>How to use it</summary>
                <div class="segments" role="group" aria-label="Where the key stands">
                    ${all.map((one, index) => html`<button class="segment"
                        aria-pressed=${index === place ? 'true' : 'false'}
                        onClick=${() => setPlace(index)}>
                            ${one.kind === 'bearer' ? 'Authorization: Bearer' : one.name}</button>`)}
                </div>
                <${Code} text=${`${PLACES[kind]?.(name, '$' + variable).replaceAll("'",
                    '"')}${origin ?? 'https://your-gateway'}/`} />
                <p class="field-label">In an .env file</p>
                <${Code} text=${`${variable}=${secret}`} label="Copy the line of the .env file, with the key" />
            </details>`
            : html`<div class="banner"><${Icon} name="check" />
                <p>The key you chose is in force. It is not shown again.</p></div>`}
            ${warnings?.map((warning) => html`<div class="banner banner-warn"><${Icon} name="warning" /><p><${Marked}
                text=${warning.detail} /></p></div>`)}
            ${secret && html`<${Tick} label="I have stored it" value=${isStored} onInput=${setIsStored} />`}
            <div class="form-foot"><span class="push" />
                <button class="button button-primary" disabled=${!!secret && !isStored}
                    onClick=${onStored}>Done</button></div>
        </div>
    <//>`;
}
