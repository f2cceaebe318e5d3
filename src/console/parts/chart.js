/**
 * Lines over time.
 *
 * Drawn as SVG with attributes alone: it takes its colours from the style sheet, so that dark and light need no second
 * drawing, and a chart of a few hundred samples needs no library of twenty kilobytes. A drawing says little to a screen
 * reader, so each has its numbers as a table behind a button. The pointer, and the arrow keys, show the values of a
 * moment.
 */
import { html, useState } from '../html.js';

const TIME = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const WIDE = 1000;
const HIGH = 200;

/** The next round number. */
function roundUp(value) {
    if (!(value > 0)) return 1;
    const size = 10 ** Math.floor(Math.log10(value));
    return [1, 2, 5, 10].find((step) => step * size >= value) * size;
}

/** Pieces of a line: a gap where nothing was measured. */
function pieces(values, x, y) {
    const all = [];
    let piece = [];
    values.forEach((value, index) => {
        if (value === null || value === undefined) {
            if (piece.length > 0) all.push(piece);
            piece = [];
        } else piece.push([x(index), y(value)]);
    });
    if (piece.length > 0) all.push(piece);
    return all;
}

const path = (piece) => piece.map(([x, y], index) =>
    `${index ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`).join('') + (piece.length === 1 ? 'h1' : '');

/** `at` are milliseconds; `series` are `{ label, tone, values }`; `format` writes a value. */
export function Chart({ label, at, series, format }) {
    const [asTable, setAsTable] = useState(false);
    const [hover, setHover] = useState(null);
    const top = roundUp(Math.max(...series.flatMap(({ values }) => values.map((value) => value ?? 0)), 0));
    const x = (index) => (at.length > 1 ? (WIDE * index) / (at.length - 1) : WIDE);
    const y = (value) => HIGH - 2 - ((HIGH - 6) * value) / top;
    const shown = hover === null ? at.length - 1 : Math.min(hover, at.length - 1);
    const point = (event) => {
        const box = event.currentTarget.getBoundingClientRect();
        setHover(Math.round(((event.clientX - box.left) / box.width) * (at.length - 1)));
    };
    const step = (event) => {
        const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (!by) return;
        event.preventDefault();
        setHover(Math.max(0, Math.min(at.length - 1, shown + by)));
    };
    const text = (value) => (value === null || value === undefined ? '–' : format(value));
    return html`<figure class="chart">
        <figcaption class="chart-head">
            <span class="legend">${series.map(({ label: name, tone, values }) =>
                html`<span key=${name} class="legend-item">
                <span class="legend-mark line-${tone}" aria-hidden="true" />${name}<span class="legend-value">
                    ${text(values[shown])}</span></span>`)}</span>
            <button class="button button-small" aria-pressed=${asTable ? 'true' : 'false'}
                onClick=${() => setAsTable(!asTable)}>Table</button>
        </figcaption>
        ${asTable ? html`<${Numbers} ...${{ label, at, series, text }} />` : html`
            <div class="chart-place" tabindex="0" role="img" aria-label="${label}. The button Table shows the numbers."
                onKeyDown=${step} onBlur=${() => setHover(null)}>
                <div class="chart-scale" aria-hidden="true"><span>${format(top)}</span><span>${format(top / 2)}</span>
                    <span>${format(0)}</span></div>
                <svg viewBox="0 0 ${WIDE} ${HIGH}" preserveAspectRatio="none" aria-hidden="true" onPointerMove=${point}
                    onPointerLeave=${() => setHover(null)}>
                    ${[0, 0.5, 1].map((part) => html`<line class=${part ? 'grid' : 'axis'} x1="0" x2=${WIDE}
                        y1=${y(top * part)} y2=${y(top * part)} />`)}
                    ${series.map(({ label: name, tone, values }) => html`<g key=${name} class="line-${tone}">
                        ${pieces(values, x, y).map((piece) => html`
                            <path class="area" d=${`${path(piece)}V${HIGH - 2}H${piece[0][0].toFixed(1)}Z`} /><path
                                class="line" d=${path(piece)} />`)}
                    </g>`)}
                    ${hover !== null && html`<line class="cursor" x1=${x(shown)} x2=${x(shown)} y1="0" y2=${HIGH} />`}
                </svg>
                <div class="chart-times" aria-hidden="true">${hover === null
                    ? [0, Math.floor(at.length / 2), at.length - 1].map((index) =>
                        html`<span>${at.length > 0 ? TIME.format(at[index]) : ''}</span>`)
                    : html`<span /><span class="chart-now">${TIME.format(at[shown])}</span><span />`}</div>
            </div>`}
    </figure>`;
}

const Numbers = ({ label, at, series, text }) =>
    html`<div class="chart-table" tabindex="0" role="region" aria-label="${label}, as a table"><table class="plain">
    <caption class="unseen">${label}</caption>
    <thead><tr><th scope="col">Time</th>
        ${series.map((one) => html`<th scope="col" class="number">${one.label}</th>`)}</tr></thead>
    <tbody>${at.map((moment, index) => html`<tr key=${moment}><th scope="row">${TIME.format(moment)}</th>
        ${series.map((one) => html`<td class="number">${text(one.values[index])}</td>`)}</tr>`).reverse()}</tbody>
</table></div>`;
