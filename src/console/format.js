/**
 * Numbers and moments as people read them.
 *
 * Moments come as RFC 3339 and are shown in the time zone of whoever looks; the full moment stands in the title of what
 * is short. Pure: the time comes in where it matters.
 */
const WHOLE = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat('en-GB', { notation: 'compact', maximumFractionDigits: 1 });
const DAY = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });
const MOMENT = new Intl.DateTimeFormat('en-GB', {
    day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit',
    timeZoneName: 'short',
});

/** `12,345`. */
export const whole = (number) => (number === undefined || number === null ? '–' : WHOLE.format(number));
/** `12.3K`. */
export const short = (number) => (number >= 10_000 ? SHORT.format(number) : whole(number));
/** `3 keys`, `1 key`. */
export const count = (number, word, words = `${word}s`) => `${whole(number)} ${number === 1 ? word : words}`;
/** `25 Nov 2026`. */
export const day = (iso) => (iso ? DAY.format(new Date(iso)) : '');
/** `25 Nov 2026, 17:05:09 UTC`. */
export const moment = (iso) => (iso ? MOMENT.format(new Date(iso)) : '');

/** `4.2 ms`, `1.3 s`. */
export function milliseconds(value) {
    if (value === undefined || value === null || Number.isNaN(value)) return '–';
    if (value === 0) return '0 ms';
    if (value < 0.1) return `${Math.max(1, Math.round(value * 1000))} µs`;
    if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
    if (value >= 100) return `${value.toFixed(0)} ms`;
    return `${value >= 10 ? value.toFixed(1) : value.toFixed(2)} ms`;
}

/** `12.5 %`. */
export const percent = (part, all) => (all > 0 ? `${((100 * part) / all).toFixed(part / all < 0.1 ? 1 : 0)} %` : '–');

const UNITS = [
    [365 * 86400, 'year'], [30 * 86400, 'month'], [86400, 'day'], [3600, 'hour'], [60, 'min', 'min'],
];

/** `2 days`, from seconds. */
export function span(seconds) {
    for (const [size, word, words] of UNITS) {
        if (seconds >= size) return count(Math.round(seconds / size), word, words);
    }
    return count(Math.max(0, Math.floor(seconds)), 's', 's');
}

/** `2 days ago`, `in 3 hours`, `just now`. */
export function away(iso, now = Date.now()) {
    if (!iso) return '';
    const seconds = (new Date(iso).getTime() - now) / 1000;
    if (Math.abs(seconds) < 45) return seconds > 0 ? 'any moment' : 'just now';
    return seconds > 0 ? `in ${span(seconds)}` : `${span(-seconds)} ago`;
}

/** Seconds until a moment, negative when it is past. */
export const secondsUntil = (iso, now = Date.now()) => (new Date(iso).getTime() - now) / 1000;

/** `not_yet_valid` as words. */
export const words = (code) => String(code ?? '').replaceAll('_', ' ');
/** With a capital letter. */
export const title = (text) => text.charAt(0).toUpperCase() + text.slice(1);
