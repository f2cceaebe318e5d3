/**
 * A place that scrolls sideways when what it holds is too wide, and can then be scrolled with the keyboard.
 *
 * Where everything fits it is no stop on the way of the Tab key.
 */
import { html, useEffect, useLayoutEffect, useRef, useState } from '../html.js';

/** `label` says what is in it. */
export function Scroll({ label, children }) {
    const box = useRef(null);
    const [isTooWide, setIsTooWide] = useState(false);
    const look = () => box.current && setIsTooWide(box.current.scrollWidth > box.current.clientWidth);
    useLayoutEffect(() => {
        look();
    });
    useEffect(() => {
        const watcher = new ResizeObserver(look);
        watcher.observe(box.current);
        watcher.observe(box.current.firstElementChild);
        return () => watcher.disconnect();
    }, []);
    const stop = isTooWide ? { tabindex: 0, role: 'region', 'aria-label': label } : {};
    return html`<div class="table-scroll" ref=${box} ...${stop}>${children}</div>`;
}
