/**
 * Why a request would be admitted or refused, step by step, and what would change that.
 *
 * A key is typed into a field that shows dots, sent in the body, and forgotten when the answer comes; it never stands
 * in the address. What else is asked does, so that a question can be passed on.
 */
import { html, useEffect, useState } from '../html.js';
import { ask } from '../api.js';
import { command, curl } from '../commands.js';
import { words } from '../format.js';
import { useResource } from '../resource.js';
import { filter, route } from '../router.js';
import { Choice, FormError, SelectField, Submit, TextField, Tick } from '../parts/form.js';
import { Icon } from '../parts/icon.js';
import { Card, PageHead } from '../parts/page.js';
import { ShowAs } from '../parts/show_as.js';
import { Empty, Marked } from '../parts/state.js';

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];

/** The question and its answer. */
export function Explain() {
    const { query } = route.value;
    const [form, setForm] = useState({ method: query.method ?? 'GET', path: query.path ?? '', as: query.as ?? 'client',
        client: query.client ?? '',
        keyId: query.key_id ?? '', secret: '', host: query.host ?? '', address: '', https: false });
    const [answer, setAnswer] = useState(null);
    const [error, setError] = useState(null);
    const [isBusy, setIsBusy] = useState(false);
    const { data: clients } = useResource('/v1/clients', { limit: 50, q: form.client });
    const set = (name) => (value) => setForm((before) => ({ ...before, [name]: value }));
    const body = {
        method: form.method, path: form.path,
        ...(form.host && { host: form.host }), ...(form.address && { address: form.address }),
            ...(form.https && { https: true }),
        ...(form.as === 'client' && form.client && { client: form.client }),
            ...(form.as === 'id' && form.keyId && { key_id: form.keyId }),
        ...(form.as === 'key' && { key: form.secret }),
    };
    const submit = async (event) => {
        event?.preventDefault();
        if (isBusy) return;
        setIsBusy(true);
        setError(null);
        filter({ method: form.method, path: form.path, as: form.as, client: form.as === 'client' ? form.client : '',
            key_id: form.as === 'id' ? form.keyId : '', host: form.host });
        try {
            setAnswer((await ask('POST', '/v1/explain', { body })).data);
        } catch (failed) {
            setAnswer(null);
            setError(failed);
        }
        setForm((before) => ({ ...before, secret: '' }));
        setIsBusy(false);
    };
    useEffect(() => {
        if (query.path && query.as !== 'key') submit();
    }, []);
    const shown = { ...body, ...(form.as === 'key' && { key: '<the key>' }) };
    return html`
        <${PageHead} title="Explain"
            about="How a request would be decided by what is in force now. Nothing is sent, counted or logged.">
            <${ShowAs} make=${() => [{ command: command('explain', [form.method, form.path || '/'],
                { 'key-stdin': form.as !== 'nobody', from: form.address, https: form.https }),
                curl: curl('POST', '/v1/explain', { body: shown }) }]} />
        <//>
        <div class="grid-two grid-explain">
            <${Card} title="The request">
                <form class="stack" onSubmit=${submit}>
                    <${FormError} error=${error} />
                    <div class="columns columns-method">
                        <${SelectField} label="Method" value=${form.method} onInput=${set('method')}
                            options=${METHODS.map((one) => [one, one])} />
                        <${TextField} label="Path" value=${form.path} onInput=${set('path')} required
                            placeholder="/orders/17" error=${error?.of?.('/path')} />
                    </div>
                    <${Choice} label="Who asks" isSmall=${true} value=${form.as} onInput=${set('as')} options=${[
                        { value: 'client', label: 'A client' }, { value: 'id', label: 'A key, by its id' },
                            { value: 'key', label: 'A key, itself' }, { value: 'nobody', label: 'Nobody' }]} />
                    ${form.as === 'client' && html`<${TextField} label="Client" value=${form.client}
                        onInput=${set('client')} required error=${error?.of?.('/client')}
                        suggestions=${(clients?.items ?? []).map((one) =>
                            ({ value: one.id, label: `${one.name} · ${one.client_type}` }))}
                            hint="As if with a secret key that states nothing of its own." />`}
                    ${form.as === 'id' && html`<${TextField} label="Key id" value=${form.keyId} onInput=${set('keyId')}
                        required placeholder="key_…" error=${error?.of?.('/key_id')} />`}
                    ${form.as === 'key' && html`<${TextField} label="The key" type="password" autocomplete="off"
                        value=${form.secret} onInput=${set('secret')} required error=${error?.of?.('/key')}
                        hint="It is digested at once, and neither kept nor logged." />`}
                    <details class="more"><summary>More</summary><div class="stack"><div class="columns">
                        <${TextField} label="Host" isOptional=${true} value=${form.host} onInput=${set('host')}
                            error=${error?.of?.('/host')} />
                        <${TextField} label="From address" isOptional=${true} value=${form.address}
                            onInput=${set('address')} placeholder="127.0.0.1" error=${error?.of?.('/address')} /></div>
                        <${Tick} label="Over HTTPS" value=${form.https} onInput=${set('https')} /></div></details>
                    <div class="form-foot"><span class="push" /><${Submit} isBusy=${isBusy}>Explain<//></div>
                </form>
            <//>
            <div aria-live="polite">${answer ? html`<${Answer} answer=${answer} />`
                : html`<${Empty} icon="shield" title="What would happen?">
                <p>Write a path and choose who asks. The answer names the rule and its line, each step that was passed, and the smallest change that would admit the call.</p>
                    <//>`}</div>
        </div>`;
}

const Answer = ({ answer }) => html`<${Card} kind=${answer.admitted ? 'verdict verdict-good' : 'verdict verdict-bad'}>
    <header class="verdict-head"><span class="verdict-mark"><${Icon} name=${answer.admitted ? 'check' : 'close'} />
        </span>
        <div><h2>${answer.admitted ? 'Admitted' : 'Refused'}${answer.code !== 'admitted'
            && html` <code class="tag">${answer.code}</code>`}</h2><p><${Marked} text=${answer.verdict} /></p></div>
            </header>
    <ol class="steps">${answer.steps.map((step) =>
        html`<li><strong>${words(step.subject)}</strong><span><${Marked} text=${step.finding} /></span></li>`)}</ol>
    <dl class="facts">
        ${answer.rule && html`<div><dt>Rule</dt><dd><code>${answer.rule}</code></dd></div>`}
        ${answer.remedy && html`<div><dt>To admit it</dt><dd class="remedy"><${Marked} text=${answer.remedy} /></dd>
            </div>`}
    </dl>
<//>`;
