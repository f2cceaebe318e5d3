/**
 * Fields, each with its label, a hint, and what is wrong with it.
 *
 * The label names the control, the hint and the error describe it, and an error is read out when it appears. What is
 * wrong comes from the server, by the JSON pointer of the field; the console judges nothing by itself.
 */
import { html, useEffect, useId, useRef, useState } from '../html.js';
import { Icon } from './icon.js';
import { Marked } from './state.js';

/** A label around one control. `children` is a function of the attributes that the control takes. */
export function Field({ label, hint, error, isOptional, children }) {
    const id = useId();
    const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(' ') || undefined;
    return html`<div class="field">
        <label class="field-label" for=${id}>
            ${label}${isOptional && html`<span class="optional">optional</span>`}</label>
        ${children({ id, 'aria-describedby': described, 'aria-invalid': error ? 'true' : undefined })}
        ${hint && html`<p class="field-hint" id="${id}-hint">${hint}</p>`}
        <${FieldError} id="${id}-error" text=${error} />
    </div>`;
}

const FieldError = ({ id, text }) => html`<p class="field-error" id=${id} role="alert"><${Marked} text=${text} /></p>`;

/** One line of text. */
export function TextField({ label, hint, error, isOptional, value, onInput, suggestions, ...rest }) {
    const list = useId();
    return html`<${Field} ...${{ label, hint, error, isOptional }}>${(attributes) => html`
        <input class="input" type="text" autocomplete="off" autocapitalize="off" spellcheck=${false} ...${attributes}
            value=${value} onInput=${(event) => onInput(event.target.value)} list=${suggestions ? list : undefined}
                ...${rest} />
        ${suggestions && html`<datalist id=${list}>${suggestions.map((one) => typeof one === 'string'
            ? html`<option value=${one} />` : html`<option value=${one.value} label=${one.label} />`)}</datalist>`}`}
    <//>`;
}

/**
 * A short text that filters a list. What is typed stays in the field until it is finished with Enter or by leaving it,
 * whatever else changes meanwhile.
 */
export function FilterText({ label, value, onChange, ...rest }) {
    const [text, setText] = useState(value);
    useEffect(() => setText(value), [value]);
    return html`<input class="input input-small" aria-label=${label} value=${text} autocomplete="off" spellcheck=${false}
        onInput=${(event) => setText(event.target.value)} onChange=${(event) => onChange(event.target.value.trim())} ...${rest} />`;
}

/** Some lines of text. */
export const AreaField = ({ label, hint, error, isOptional, value, onInput, ...rest }) => html`
    <${Field} ...${{ label, hint, error, isOptional }}>${(attributes) => html`
        <textarea class="input" rows="2" ...${attributes} value=${value}
            onInput=${(event) => onInput(event.target.value)}
            ...${rest} />`}
    <//>`;

/** One of several words: `[value, label]`. */
export const SelectField = ({ label, hint, error, value, onInput, options }) => html`
    <${Field} ...${{ label, hint, error }}>${(attributes) => html`
        <select class="input" ...${attributes} value=${value} onChange=${(event) => onInput(event.target.value)}>
            ${options.map(([one, text]) => html`<option value=${one} selected=${one === value}>${text}</option>`)}
        </select>`}
    <//>`;

/** A few choices side by side, each with a word about it: `{ value, label, about, icon }`. */
export function Choice({ label, hint, error, value, onInput, options, isSmall = false }) {
    const name = useId();
    return html`<fieldset class="field choice ${isSmall ? 'choice-small' : ''}">
        <legend class="field-label">${label}</legend>
        <div class="choice-options">
            ${options.map((option) => html`<label class="choice-option" key=${option.value}>
                <input type="radio" name=${name} value=${option.value} checked=${option.value === value}
                    disabled=${option.disabled} onChange=${() => onInput(option.value)} />
                ${option.icon && html`<${Icon} name=${option.icon} />`}
                <span class="choice-text"><span class="choice-label">${option.label}</span>
                    ${option.about && html`<span class="choice-about">${option.about}</span>`}</span>
            </label>`)}
        </div>
        ${hint && html`<p class="field-hint">${hint}</p>`}
        <${FieldError} text=${error} />
    </fieldset>`;
}

/** Yes or no. */
export const Tick = ({ label, about, value, onInput, disabled }) => html`<label class="tick">
    <input type="checkbox" checked=${value} disabled=${disabled} onChange=${(event) => onInput(event.target.checked)} />
    <span><span class="tick-label">${label}</span>${about && html`<span class="field-hint">${about}</span>`}</span>
</label>`;

/** What is wrong with a form as a whole. It takes the focus, so that nobody misses it. */
export function FormError({ error }) {
    const box = useRef(null);
    useEffect(() => error && box.current?.focus(), [error]);
    if (!error) return null;
    const parts = error.errors?.map((part) => part.detail) ?? [];
    return html`<div class="banner banner-bad" role="alert" tabindex="-1" ref=${box}>
        <${Icon} name="warning" />
        <div><strong><${Marked} text=${error.detail ?? error.message} /></strong>
            ${parts.length > 0 && html`<ul>${parts.map((text) => html`<li><${Marked} text=${text} /></li>`)}</ul>`}
            ${error.required_role
                && html`<p>Ask somebody whose token has the role ${error.required_role}, or sign in with one.</p>`}
        </div>
    </div>`;
}

/** A button that shows that something is under way. */
export const Submit = ({ isBusy, children, kind = 'primary', ...rest }) => html`
    <button class="button button-${kind}" type="submit" aria-disabled=${isBusy ? 'true' : undefined} ...${rest}>
        ${isBusy && html`<span class="spinner" aria-hidden="true"></span>`}${children}
    </button>`;
