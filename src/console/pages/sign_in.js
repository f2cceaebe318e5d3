/**
 * Where an admin token is shown once, for a session.
 *
 * The token is in the field until it is sent, and then nowhere on this side: what remains is a cookie that no script
 * reads.
 */
import { html, useEffect, useRef, useState } from '../html.js';
import { farewell, signIn } from '../session.js';
import { Field, FormError, Submit } from '../parts/form.js';
import { Code } from '../parts/copy.js';
import { Icon } from '../parts/icon.js';

/** The sign-in page. */
export function SignIn() {
    const [error, setError] = useState(null);
    const [isBusy, setIsBusy] = useState(false);
    const field = useRef(null);
    useEffect(() => {
        document.title = 'Sign in · keygate';
        field.current?.focus();
    }, []);
    const submit = async (event) => {
        event.preventDefault();
        const token = field.current.value.trim();
        if (isBusy) return;
        setIsBusy(true);
        setError(null);
        try {
            await signIn(token);
        } catch (failed) {
            setError(explain(failed));
            setIsBusy(false);
            field.current?.select();
        }
    };
    return html`<main class="sign-in">
        <div class="sign-in-card">
            <img src="mark.svg" alt="" width="44" height="44" />
            <h1>Sign in to keygate</h1>
            ${farewell.value && !error && html`<div class="banner" role="status"><${Icon} name="info" /><p>
                ${farewell.value}</p></div>`}
            <form onSubmit=${submit}>
                <${FormError} error=${error} />
                <${Field} label="Admin token">${(attributes) =>
                    html`<input class="input mono" type="password" ref=${field} required
                    name="token" autocomplete="current-password" spellcheck=${false} placeholder="kg_admin_…"
                        ...${attributes} />`}<//>
                <${Submit} isBusy=${isBusy} kind="primary button-wide">Sign in<//>
            </form>
            <details>
                <summary>Where do I get a token?</summary>
                <p>keygate prints the first one when it makes its store. On its machine you can make another at any time:</p>
                <${Code} text="keygate admin-token create my-name --role developer" />
                <p>A <strong>viewer</strong> looks, a <strong>developer</strong> manages keys and clients, an <strong>admin</strong>
                    manages tokens and reloads too. An API key is no admin token.</p>
            </details>
        </div>
    </main>`;
}

function explain(error) {
    if (error.code === 'too_many_failures') {
        error.detail = `Too many wrong tokens came from your address. Try again in ${error.retryAfter ?? 60} seconds.`;
    } else if (error.status === 401) {
        error.detail = 'This token is not good. See that it is whole (it begins with kg_admin_) and was not revoked.';
    }
    return error;
}
