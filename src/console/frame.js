/**
 * What stands around every screen: the way to the others, who is signed in, and the warning before an idle sign-out.
 */
import { html, useEffect, useState } from './html.js';
import { appearance, switchAppearance } from './appearance.js';
import { route } from './router.js';
import { secondsLeft, session, signOut, stay } from './session.js';
import { Dialog } from './parts/dialog.js';
import { Icon } from './parts/icon.js';
import { Notices } from './notices.js';

const SCREENS = [
    ['', 'Overview', 'overview'],
    ['keys', 'API keys', 'key'],
    ['clients', 'Clients', 'clients'],
    ['endpoints', 'Endpoints', 'endpoints'],
    ['explain', 'Explain', 'shield'],
    ['audit', 'Audit', 'audit'],
    ['settings', 'Settings', 'settings'],
];

/** The frame; `children` is the screen. */
export function Frame({ children }) {
    const [isOpen, setIsOpen] = useState(false);
    const first = route.value.parts[0];
    useEffect(() => setIsOpen(false), [route.value.path]);
    const skip = (event) => {
        event.preventDefault();
        document.querySelector('main h1')?.focus();
    };
    return html`<div class="frame">
        <a class="skip" href="#content" onClick=${skip}>Skip to the content</a>
        <header class="side ${isOpen ? 'side-open' : ''}">
            <div class="side-top">
                <a class="brand" href="#/"><img src="mark.svg" alt="" width="26" height="26" /><span>keygate</span></a>
                <button class="icon-button menu" aria-expanded=${isOpen ? 'true' : 'false'} aria-controls="side-rest"
                    aria-label="Menu"
                    onClick=${() => setIsOpen(!isOpen)}><${Icon} name=${isOpen ? 'close' : 'menu'} /></button>
            </div>
            <div class="side-rest" id="side-rest">
                <nav aria-label="Screens"><ul>
                    ${SCREENS.map(([path, label, icon]) => html`<li key=${path}>
                        <a href="#/${path}" aria-current=${first === path ? 'page' : undefined}><${Icon} name=${icon} />
                            ${label}</a>
                    </li>`)}
                </ul></nav>
                <div class="who">
                    <div class="who-words"><span class="who-name">${session.value.token_name}</span>
                        <span class="who-role">${session.value.role}</span></div>
                    <button class="icon-button" onClick=${switchAppearance}
                        aria-label=${appearance.value === 'dark' ? 'Show in light colours' : 'Show in dark colours'}>
                        <${Icon} name=${appearance.value === 'dark' ? 'sun' : 'moon'} /></button>
                    <button class="icon-button" aria-label="Sign out" title="Sign out" onClick=${() => signOut()}>
                        <${Icon} name="leave" /></button>
                </div>
            </div>
        </header>
        <main id="content">${children}</main>
        <${Notices} />
        ${secondsLeft.value !== null && html`<${IdleWarning} />`}
    </div>`;
}

const IdleWarning = () => html`<${Dialog} title="Are you still there?" onClose=${stay} footer=${html`
        <button class="button" onClick=${() => signOut()}>Sign out</button>
        <button class="button button-primary" autofocus onClick=${stay}>Stay signed in</button>`}>
    <p>Nobody has used the console for a while. You will be signed out in
        <strong class="number"> ${secondsLeft.value} </strong>${secondsLeft.value === 1 ? 'second' : 'seconds'}.</p>
<//>`;
