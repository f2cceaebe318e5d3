/**
 * The words that the rules in force use, to be offered where somebody has to write one: types of client, environments,
 * and where a key may stand in a request.
 *
 * They are read once and again after a minute. They are suggestions: another word may be written, and the server
 * judges.
 */
import { signal, useEffect } from './html.js';
import { ask } from './api.js';

const NONE = { clientTypes: [], environments: [], places: [], at: 0 };
const words = signal(NONE);
let asked = null;

async function read() {
    const [access, settings, endpoints] = await Promise.all(['/v1/access', '/v1/settings',
        '/v1/endpoints'].map((path) => ask('GET', path)));
    const environments = [settings.data.environment,
        ...settings.data.prefixes.map((prefix) => prefix.environment)].filter(Boolean);
    const cookie = settings.data.configuration?.credentials?.cookie ?? 'mia_client_key';
    const places = [...new Set(endpoints.data.items.flatMap((endpoint) => endpoint.credentials))];
    words.value = {
        clientTypes: access.data.client_types,
        environments: [...new Set(environments)],
        // What most callers know stands first.
        places: places.map((place) => (place === 'authorization' ? { kind: 'bearer', name: place } : place === 'cookie'
            ? { kind: 'cookie', name: cookie }
            : { kind: 'header', name: place })).sort((one, other) => RANK.indexOf(one.name) - RANK.indexOf(other.name)),
        at: Date.now(),
    };
}

const RANK = ['x-api-key', 'authorization', 'client-key', 'secret', 'cookie'];

/**
 * The words. They are empty until they have come, and stay so where no gateway runs. A list can wait for them (`isLater`),
 * so that they do not keep it from being shown.
 */
export function useWords({ isLater = false } = {}) {
    useEffect(() => {
        let again;
        const ask = () => {
            if (Date.now() - words.value.at < 60_000 || asked) return;
            asked = read().catch(() => (again = setTimeout(ask, 5000))).finally(() => (asked = null));
        };
        if (!isLater) ask();
        const timer = isLater && setTimeout(ask, 600);
        return () => [timer, again].forEach(clearTimeout);
    }, []);
    return words.value;
}
