/**
 * Drives the console in a real Chromium, against a gateway that runs and has traffic.
 *
 *     node tests/console/run.js [words of the checks to run]
 *
 * The binary is `target/debug/keygate`, or what `KEYGATE_BINARY` names; the browser is `chromium`, or what `CHROMIUM`
 * names. Each check has a page of its own, and fails of what the browser complains about as well: an error on its
 * console, a breach of the content policy, a request to any other address than the gateway's. Pictures of each page are
 * in `target/console/`. With `CONSOLE_FROM_TREE=1` the files of the working tree are taken in place of those in the
 * binary.
 */
import { launch, closeAll, tellAll } from './browser.js';
import { Gateway } from './gateway.js';
import { checks } from './check.js';

import './checks/session.js';
import './checks/seeds.js';
import './checks/keys.js';
import './checks/clients.js';
import './checks/rules.js';
import './checks/roles.js';
import './checks/attacks.js';
import './checks/looks.js';

const wanted = process.argv.slice(2);
const started = Date.now();
const gateway = await Gateway.start();
const browser = await launch();
let failed = 0;
try {
    for (const { name, run } of checks) {
        if (wanted.length > 0 && !wanted.some((word) => name.includes(word))) continue;
        const begun = Date.now();
        try {
            await run({ gateway, browser });
            console.log(`ok    ${name} (${Date.now() - begun} ms)`);
        } catch (error) {
            failed += 1;
            for (const line of await tellAll(name)) console.log(`      ${line}`);
            console.log(`FAIL  ${name} (${Date.now() - begun} ms)\n      ${String(error.stack ?? error).replaceAll('\n',
                '\n      ')}`);
        } finally {
            await closeAll();
        }
    }
} finally {
    await browser.close();
    await gateway.stop();
}
console.log(`${failed === 0 ? 'all passed' : `${failed} failed`} in ${Math.round((Date.now() - started) / 1000)} s`);
process.exit(failed === 0 ? 0 : 1);
