/**
 * The console of keygate: starts it, and puts the screen that the address names into the frame.
 *
 * Whoever is not signed in sees the sign-in page and nothing else; the address stays, so that they land where they
 * wanted to go. Screens are in `pages/`, what they are made of in `parts/`; `api.js` is the only one that speaks to the
 * server.
 */
import { html, render, useEffect } from './html.js';
import { recall, session } from './session.js';
import { route } from './router.js';
import { Frame } from './frame.js';
import { SignIn } from './pages/sign_in.js';
import { Overview } from './pages/overview.js';
import { Keys } from './pages/keys.js';
import { NewKey } from './pages/key_new.js';
import { Key } from './pages/key.js';
import { Clients } from './pages/clients.js';
import { Client } from './pages/client.js';
import { Endpoints } from './pages/endpoints.js';
import { Explain } from './pages/explain.js';
import { Audit } from './pages/audit.js';
import { Settings } from './pages/settings.js';
import { Empty } from './parts/state.js';
import { PageHead } from './parts/page.js';

function screen([first, second]) {
    switch (first) {
        case '': return html`<${Overview} />`;
        case 'keys': return second ? html`<${Key} key=${second} id=${second} />` : html`<${Keys} />`;
        // Not below `keys`, where an id may be any word.
        case 'new-key': return html`<${NewKey} />`;
        case 'clients': return second ? html`<${Client} key=${second} id=${second} />` : html`<${Clients} />`;
        case 'endpoints': return html`<${Endpoints} />`;
        case 'explain': return html`<${Explain} />`;
        case 'audit': return html`<${Audit} />`;
        case 'settings': return html`<${Settings} />`;
        default: return html`<${PageHead} title="There is no such page" />
            <${Empty} icon="search" title="Nothing is here"
                action=${html`<a class="button button-primary" href="#/">Go to the overview</a>`}>
                <p>The address may have been cut off, or come from another version of keygate.</p><//>`;
    }
}

function App() {
    useEffect(() => {
        recall();
    }, []);
    if (session.value === undefined) return html`<p class="unseen" role="status">Loading</p>`;
    if (session.value === null) return html`<${SignIn} />`;
    return html`<${Frame}>${screen(route.value.parts)}<//>`;
}

render(html`<${App} />`, document.getElementById('app'));
