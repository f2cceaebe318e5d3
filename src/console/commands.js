/**
 * What a screen does, as a line for a shell: with curl, and as a `keygate` command.
 *
 * Whoever has clicked through something once can put it into a script. No line holds a secret: the token is the
 * variable `$TOKEN`, and keys are read from standard input.
 */
import { search } from './api.js';

/** A word that a shell takes as it is. */
export function quote(text) {
    const word = String(text);
    return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** A request with curl. */
export function curl(method, path, { query, body } = {}) {
    const lines = [`curl${method === 'GET' ? '' : ` -X ${method}`} -H "Authorization: Bearer $TOKEN"`];
    if (body !== undefined) {
        lines.push(`-H 'Content-Type: application/json'`, `-d ${quote(JSON.stringify(body))}`);
    }
    lines.push(quote(location.origin + path + search(query)));
    return lines.join(' \\\n    ');
}

/**
 * A `keygate` command. `options` are pairs; `true` is an option without a value, a list repeats it, what is empty is
 * left out.
 */
export function command(words, positional = [], options = {}) {
    const given = positional.filter(Boolean).map(quote);
    // What begins with a dash would be taken for an option.
    const isOdd = positional.some((one) => String(one).startsWith('-'));
    const parts = ['keygate', ...words.split(' '), ...(isOdd ? [] : given)];
    for (const [name, value] of Object.entries(options)) {
        if (value === undefined || value === null || value === '' || value === false) continue;
        for (const one of Array.isArray(value) ? value : [value]) {
            parts.push(one === true ? `--${name}` : `--${name} ${quote(one)}`);
        }
    }
    if (isOdd) parts.push('--', ...given);
    return parts.join(' ');
}

/** Permissions as the command line writes them. */
export function permissionsWord(permissions) {
    if (permissions === undefined || permissions === null) return undefined;
    return Array.isArray(permissions) ? permissions.join(',') || 'none' : permissions;
}
