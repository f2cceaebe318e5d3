/**
 * Tables, short ones and those of a million rows.
 *
 * Only the rows near the screen are elements of the page; two spacers stand for the rest, so that the scroll bar is
 * right and scrolling stays smooth. Rows are all of one height, which the style sheet says too. When the end comes near
 * the caller is asked for more. On narrow screens a row becomes a small card, each value with the name of its column;
 * the roles are written out, since some browsers forget them then.
 */
import { html, useEffect, useLayoutEffect, useRef, useState } from '../html.js';
import { Icon } from './icon.js';

const AROUND = 12;
const narrow = matchMedia('(max-width: 760px)');

function useNarrow() {
    const [is, setIs] = useState(narrow.matches);
    useEffect(() => {
        const look = () => setIs(narrow.matches);
        narrow.addEventListener('change', look);
        return () => narrow.removeEventListener('change', look);
    }, []);
    return is;
}

/** The first row on the screen and the one behind the last, with some around. */
function useWindow(body, count, height) {
    const [range, setRange] = useState([0, 2 * AROUND + 20]);
    useLayoutEffect(() => {
        let frame = 0;
        const look = () => {
            frame = 0;
            if (!body.current) return;
            const above = -body.current.getBoundingClientRect().top;
            // In steps, so that most scrolling changes nothing.
            const first = Math.max(0, Math.floor(above / height / 8) * 8 - AROUND);
            const last = Math.ceil((above + innerHeight) / height / 8) * 8 + AROUND;
            setRange((before) => (before[0] === first && before[1] === last ? before : [first, last]));
        };
        const soon = () => (frame ||= requestAnimationFrame(look));
        look();
        addEventListener('scroll', soon, { passive: true });
        addEventListener('resize', soon);
        return () => {
            cancelAnimationFrame(frame);
            removeEventListener('scroll', soon);
            removeEventListener('resize', soon);
        };
    }, [count, height]);
    return [Math.min(range[0], count), Math.min(range[1], count)];
}

/**
 * `columns` are `{ label, show(row), sort?, kind?, width?, isHead? }`; `sort` is `{ by, descending, onSort }`; `id(row)` tells
 * rows apart. `tall` and `low` are the heights of a row on narrow and wide screens.
 */
export function Table({ caption, columns, rows, id, sort, onEnd, hasMore, low = 56, tall = 150, kind = '' }) {
    const body = useRef(null);
    const isNarrow = useNarrow();
    const height = isNarrow ? tall : low;
    const [first, last] = useWindow(body, rows.length, height);
    useEffect(() => {
        if (hasMore && last >= rows.length - AROUND) onEnd();
    }, [last, rows.length, hasMore]);
    return html`<div class="table-frame ${kind}"><table role="table" aria-rowcount=${hasMore ? -1 : rows.length + 1}>
        <caption class="unseen">${caption}</caption>
        <thead role="rowgroup"><tr role="row" aria-rowindex="1">
            ${columns.map((column) => html`<${Heading} key=${column.label} ...${{ column, sort }} />`)}
        </tr></thead>
        <tbody role="rowgroup" ref=${body}>
            ${first > 0 && html`<${Spacer} key="above" height=${first * height} />`}
            ${rows.slice(first, last).map((row, index) =>
                html`<tr role="row" key=${id(row)} aria-rowindex=${first + index + 2}
                style=${isNarrow ? { height: `${tall}px` } : undefined}>
                ${columns.map((column) => (column.isHead
                    ? html`<th role="rowheader" scope="row" class=${column.kind}>${column.show(row)}</th>`
                    : html`<td role="cell" class=${column.kind}
                        data-label=${column.unlabelled ? undefined : column.label}>
                        ${column.show(row)}</td>`))}
            </tr>`)}
            ${last < rows.length && html`<${Spacer} key="below" height=${(rows.length - last) * height} />`}
        </tbody>
    </table></div>`;
}

const Spacer = ({ height }) => html`<tr class="spacer" aria-hidden="true" role="presentation">
    <td role="presentation" style=${{ height: `${height}px` }} /></tr>`;

function Heading({ column, sort }) {
    const is = sort && column.sort && sort.by === column.sort;
    const order = is ? (sort.descending ? 'descending' : 'ascending') : column.sort ? 'none' : undefined;
    const words = column.head ?? column.label;
    return html`<th role="columnheader" scope="col" class=${column.kind} style=${{ width: column.width }} aria-sort=${order}>
        ${column.sort
            ? html`<button class="sort" onClick=${() => sort.onSort(column.sort)}>${words}
                ${is && html`<${Icon} name=${sort.descending ? 'down' : 'up'} />`}</button>`
            : words}
    </th>`;
}
