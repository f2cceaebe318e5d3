/**
 * Small charts made of bars: use by day.
 *
 * Drawn as SVG with attributes alone, since the policy of the page admits no style that stands in an element.
 */
import { html } from '../html.js';
import { count, day, whole } from '../format.js';

/** A handful of bars within a row. */
export function Spark({ values, words = 'request' }) {
    const sum = values.reduce((all, one) => all + one, 0);
    const most = Math.max(1, ...values);
    const text = sum > 0 ? `${count(sum, words)} in ${values.length} days` : `not used in ${values.length} days`;
    const width = 100 / values.length;
    return html`<svg class="spark" viewBox="0 0 100 28" preserveAspectRatio="none" role="img" aria-label=${text}>
        <title>${text}</title>
        ${values.map((value, index) => {
            const height = value > 0 ? Math.max(2, (26 * value) / most) : 1;
            return html`<rect class=${value > 0 ? 'spark-bar' : 'spark-none'} x=${index * width + 0.6}
                width=${width - 1.2}
                y=${28 - height} height=${height} />`;
        })}
    </svg>`;
}

/** Admitted and refused for each of the last days: `days` are `{ day, admitted, refused }`. */
export function DayBars({ days }) {
    const most = Math.max(1, ...days.map(({ admitted, refused }) => admitted + refused));
    const step = 720 / days.length;
    return html`<div class="day-bars">
        <svg viewBox="0 0 720 150" preserveAspectRatio="none" role="img"
            aria-label="Requests by day, ${day(days[0].day)} to ${day(days.at(-1).day)}; the table below says the same">
            ${[0.5, 1].map((part) => html`<line class="grid" x1="0" x2="720" y1=${150 - 140 * part}
                y2=${150 - 140 * part} />`)}
            <line class="axis" x1="0" x2="720" y1="149.5" y2="149.5" />
            ${days.map(({ day: at, admitted, refused }, index) => {
                const good = (140 * admitted) / most;
                const bad = (140 * refused) / most;
                return html`<g key=${at}>
                    <title>${`${day(at)}: ${whole(admitted)} admitted, ${whole(refused)} refused`}</title>
                    <rect class="hit" x=${index * step} y="0" width=${step} height="150" />
                    <rect class="bar-good" x=${index * step + 2} width=${step - 4} y=${149 - good} height=${good} />
                    <rect class="bar-bad" x=${index * step + 2} width=${step - 4} y=${149 - good - bad} height=${bad} />
                </g>`;
            })}
        </svg>
        <div class="day-scale" aria-hidden="true"><span>${day(days[0].day)}</span>
            <span>most: ${whole(most)} a day</span>
            <span>${day(days.at(-1).day)}</span></div>
    </div>`;
}

/** Names with bars by their share, the longest first: `[name, value, address?]`. */
export function Shares({ items, tone = 'plain' }) {
    const most = Math.max(1, ...items.map(([, value]) => value));
    return html`<ul class="shares">
        ${items.map(([name, value, href]) => html`<li key=${name}>
            <span class="share-name">${href ? html`<a href=${href}>${name}</a>` : name}</span><span class="share-value">
                ${whole(value)}</span>
            <svg class="share-bar share-${tone}" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
                <rect class="share-all" width="100" height="4" /><rect class="share-part" width=${(100 * value) / most}
                    height="4" />
            </svg>
        </li>`)}
    </ul>`;
}
