/**
 * A gateway that runs in a folder of its own, with a store, tokens of each role, and ways to call it.
 */
import { spawn, execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { fileURLToPath } from 'node:url';

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const BINARY = process.env.KEYGATE_BINARY ?? path.join(ROOT, 'target/debug/keygate');
const run = promisify(execFile);

const CONFIGURATION = `
listen:
  - address: 127.0.0.1:0
admin:
  address: 127.0.0.1:0
environment: live
upstreams:
  echo: { echo: true }
  billing: { url: "http://127.0.0.1:9", health_check: { path: /health } }
key_prefixes:
  - { prefix: mb_live_, type: secret, environment: live }
  - { prefix: pk_live_, type: publishable, environment: live }
keys: { store: keygate.db }
rate_limits:
  per-key: { requests: 10000, per: 1h }
plans:
  standard: { rate_limits: [per-key] }
default_plan: standard
endpoints:
  - name: catalogue
    path: /catalogue
    upstream: echo
    public: true
    methods: [GET]
  - name: orders
    path: /orders
    upstream: echo
    client_types: [cms, backoffice]
    permissions: { GET: [orders.read], POST: [orders.write] }
    routes:
      - match: DELETE /orders/:id
        allow: "groups.admin && clientType === 'backoffice'"
  - name: projects
    path: /projects/:tenant
    upstream: echo
    tenant: { path: tenant }
  - name: events
    path: /events
    upstream: echo
    key_types: [publishable]
    methods: [POST]
  - name: billing
    path: /billing
    upstream: billing
    permissions: [invoices.read]
clients:
  - id: legacy
    name: From a file
    client_type: cms
    keys:
      - id: key_legacy
        name: written in a file
        digest: "blake3:09178b1f178ae82b31a27ec70d0a8f2a58e118e14f3266146e58d5edc4795a34"
`;

/** A gateway. */
export class Gateway {
    /** Starts one, and makes a token for each role. */
    static async start() {
        const gateway = new Gateway();
        gateway.folder = await mkdtemp(path.join(tmpdir(), 'keygate-console-'));
        await gateway.configure(CONFIGURATION);
        gateway.process = spawn(BINARY, ['run'], { cwd: gateway.folder, env: gateway.environment() });
        process.once('exit', () => gateway.process.kill());
        gateway.log = '';
        gateway.process.stdout.on('data', (text) => (gateway.log += text));
        gateway.process.stderr.on('data', (text) => (gateway.log += text));
        const address = (word) => gateway.log.match(new RegExp(`^${word} +(http://\\S+)`, 'm'))?.[1];
        await until(() => address('admin') && address('listening'), () => `the gateway did not start:\n${gateway.log}`);
        gateway.admin = address('admin');
        gateway.data = address('listening');
        gateway.console = `${gateway.admin}/console/`;
        gateway.tokens = {};
        for (const role of ['viewer', 'developer', 'admin']) {
            gateway.tokens[role] = (await gateway.command('admin-token', 'create', role, '--role', role)).trim();
        }
        // Each is good from here once: whoever guesses later does not lock them out.
        for (const role of Object.keys(gateway.tokens)) await gateway.ask('GET', '/v1/whoami', undefined, { role });
        return gateway;
    }

    environment() {
        const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('KEYGATE_'));
        return { ...Object.fromEntries(kept), NO_COLOR: '1' };
    }

    /** The file as it is at the start. */
    get configuration() {
        return CONFIGURATION;
    }

    configure(text) {
        return writeFile(path.join(this.folder, 'gateway.yaml'), text);
    }

    /** Runs `keygate` in the folder and gives what it prints. */
    async command(...words) {
        return (await run(BINARY, words, { cwd: this.folder, env: this.environment(), maxBuffer: 64 << 20 })).stdout;
    }

    /** Runs a line of shell in the folder, with `keygate` on the path and an admin token in `$TOKEN`. */
    async shell(line) {
        const PATH = `${path.dirname(BINARY)}:${process.env.PATH}`;
        return (await run('sh', ['-ec', line],
            { cwd: this.folder, env: { ...this.environment(), PATH, TOKEN: this.tokens.admin } })).stdout;
    }

    /** Asks the admin API with a token. */
    async ask(method, at, body, { role = 'admin', headers = {} } = {}) {
        return call(this.admin + at, { method, body: body && JSON.stringify(body),
            headers: { authorization: `Bearer ${this.tokens[role]}`, 'content-type': 'application/json',
                ...headers } });
    }

    /** Makes a key, and gives it with its secret. */
    async key(name, more = {}) {
        const { status, json } = await this.ask('POST', '/v1/keys',
            { name, client: { id: 'shop', client_type: 'cms' }, ...more });
        if (status !== 201) throw new Error(`no key was made: ${JSON.stringify(json)}`);
        return { ...json.key, secret: json.secret };
    }

    /** Calls through the gateway. */
    call(method, at, headers = {}) {
        return call(this.data + at, { method, headers });
    }

    async stop() {
        this.process.kill('SIGTERM');
        await new Promise((done) => this.process.once('exit', done));
        await rm(this.folder, { recursive: true, force: true });
    }

    /** Everything that lies in the folder or was logged, as one text of bytes. */
    async remains() {
        const files = ['keygate.db', 'keygate.db-wal'];
        const texts = await Promise.all(files.map((name) =>
            readFile(path.join(this.folder, name), 'latin1').catch(() => '')));
        return this.log + texts.join('');
    }
}

/** Sends a request; `{ status, headers, text, json }`. */
export function call(url, { method = 'GET', headers = {}, body } = {}) {
    return new Promise((done, fail) => {
        const sent = request(url, { method, headers }, (answer) => {
            let text = '';
            answer.on('data', (part) => (text += part));
            answer.on('end', () => {
                let json = null;
                try {
                    json = JSON.parse(text);
                } catch {
                    // It is none.
                }
                done({ status: answer.statusCode, headers: answer.headers, text, json });
            });
        });
        sent.on('error', fail);
        sent.end(body);
    });
}

/** Waits until something is so. */
export async function until(is, why = () => 'it did not happen in time', patience = 15_000) {
    const end = Date.now() + patience;
    for (;;) {
        const found = await is();
        if (found) return found;
        if (Date.now() > end) throw new Error(why());
        await new Promise((done) => setTimeout(done, 50));
    }
}
