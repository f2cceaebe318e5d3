/**
 * What all screens share: the title, a line about it, and what can be done.
 *
 * The title takes the focus when a screen is opened, so that a screen reader says where one is and the keyboard goes on
 * from there.
 */
import { html, useEffect, useRef } from '../html.js';
import { route } from '../router.js';
import { Icon } from './icon.js';

let opened = null;

/** The head of a screen. `back` is `[address, words]`. */
export function PageHead({ title, about, back, children }) {
    const heading = useRef(null);
    const { path } = route.value;
    useEffect(() => {
        document.title = `${title} · keygate`;
    }, [title]);
    useEffect(() => {
        // The first screen after the page was loaded leaves the focus where the browser has it.
        if (opened !== null && opened !== path) {
            heading.current?.focus({ preventScroll: true });
            scrollTo(0, 0);
        }
        opened = path;
    }, [path]);
    return html`<header class="page-head">
        <div class="page-words">
            ${back && html`<a class="back" href=${back[0]}><${Icon} name="back" />${back[1]}</a>`}
            <h1 tabindex="-1" ref=${heading}>${title}</h1>
            ${about && html`<p class="about">${about}</p>`}
        </div>
        ${children && html`<div class="page-actions">${children}</div>`}
    </header>`;
}

/** A part of a screen with a frame around it. */
export const Card = ({ title, about, actions, children, kind = '' }) => html`<section class="card ${kind}">
    ${(title || actions) && html`<header class="card-head">
        <div><h2>${title}</h2>${about && html`<p class="about">${about}</p>`}</div>
        ${actions && html`<div class="card-actions">${actions}</div>`}
    </header>`}
    ${children}
</section>`;
