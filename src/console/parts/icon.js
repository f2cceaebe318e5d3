/**
 * Small drawings beside words, 24 units wide, drawn for this console.
 *
 * They are decoration: what one means is always said in words or in the label of its button, so they are hidden from
 * screen readers.
 */
import { html } from '../html.js';

const PATHS = {
    overview: 'M4 20V10 M10 20V4 M16 20v-7 M22 20H2',
    key: 'M14.5 9.5a5 5 0 1 0-3 4.6L14 16h3v3h3v-3.5l-5.9-5.3 M8.6 9.4h.01',
    clients: 'M9 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8z M2 21c0-4 3-6.5 7-6.5s7 2.5 7 6.5 M16 3.5a4 4 0 0 1 0 7.2 M18.5 15c2.2.8 3.5 2.9 3.5 6',
    endpoints: 'M6 6h12 M6 6a2 2 0 1 1-.01 0z M18 18H9a4 4 0 0 1 0-8h6a4 4 0 0 0 3-4 M18 18a2 2 0 1 1 .01 0z',
    audit: 'M6 3h9l4 4v14H6z M9.5 12h6 M9.5 16h6 M14.5 3v4.5H19',
    settings: 'M4 7h9 M17 7h3 M4 17h3 M11 17h9 M15 5v4 M9 15v4',
    search: 'M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14z M16.5 16.5 21 21',
    plus: 'M12 5v14 M5 12h14',
    copy: 'M9 9h11v11H9z M5 15H4V4h11v1',
    check: 'M5 12.5 10 17.5 19.5 7',
    close: 'M6 6l12 12 M18 6 6 18',
    warning: 'M12 4 2.5 20h19z M12 10v4.5 M12 17.2h.01',
    info: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z M12 11v5 M12 8h.01',
    terminal: 'M4 6l6 6-6 6 M12 18h8',
    sun: 'M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8z M12 2v2 M12 20v2 M2 12h2 M20 12h2 M4.9 4.9l1.4 1.4 M17.7 17.7l1.4 1.4 M19.1 4.9l-1.4 1.4 M6.3 17.7l-1.4 1.4',
    moon: 'M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z',
    leave: 'M14 4H5v16h9 M10 12h11 M17.5 8.5 21 12l-3.5 3.5',
    menu: 'M4 7h16 M4 12h16 M4 17h16',
    rotate: 'M20 11a8 8 0 0 0-14.3-4L3 9.5 M3 4.5v5h5 M4 13a8 8 0 0 0 14.3 4l2.7-2.5 M21 19.5v-5h-5',
    down: 'M6 9.5l6 6 6-6',
    up: 'M6 14.5l6-6 6 6',
    back: 'M14.5 6l-6 6 6 6',
    machine: 'M5 7h14v12H5z M12 3v4 M9.5 12v2 M14.5 12v2 M2 12v3 M22 12v3',
    person: 'M12 12a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9z M4 21c0-4.4 3.6-7 8-7s8 2.6 8 7',
    shield: 'M12 3 4.5 6v5.5c0 4.6 3 8 7.5 9.5 4.5-1.5 7.5-4.9 7.5-9.5V6z',
};

/** One drawing, by name. */
export const Icon = ({ name }) => html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
    <path d=${PATHS[name]} />
</svg>`;
