/**
 * The browser, and pages that remember what they should not have done.
 */
import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { ROOT } from './gateway.js';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const open = [];
export const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

/** Starts the browser, with nothing of its own to ask anybody. */
export async function launch() {
    return chromium.launch({
        executablePath: CHROMIUM,
        args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
            '--disable-component-update', '--disable-sync'],
    });
}

/** What is seen on each page of a check that failed, as a picture, and what its browser complained about. */
export async function tellAll(name) {
    const told = [];
    for (const [index, page] of open.flatMap((context) => context.pages()).entries()) {
        const file = path.join(ROOT, 'target/console', `failed-${name.replace(/[^a-z]+/g, '-').slice(0, 40)}-${index}.png`);
        await page.screenshot({ path: file }).catch(() => {});
        told.push(`${page.url()}, see ${file}`, ...(page.faults ?? []));
    }
    return told;
}

/** Forgets all pages of a check. */
export async function closeAll() {
    for (const context of open.splice(0)) await context.close();
}

/** Answers with a file of the working tree in place of the one in the binary, for whoever works on the console. */
async function fromTree(route) {
    const response = await route.fetch().catch(() => null);
    // The page may be gone by then.
    if (!response) return;
    const name = decodeURIComponent(new URL(route.request().url()).pathname.slice('/console/'.length)) || 'index.html';
    const kind = { '.js': 'text/javascript', '.css': 'text/css',
        '.svg': 'image/svg+xml' }[path.extname(name)] ?? 'text/html';
    const headers = { ...response.headers(), 'content-type': kind };
    delete headers['content-encoding'];
    delete headers['content-length'];
    const body = await readFile(path.join(ROOT, 'src/console', name));
    await route.fulfill({ status: 200, headers, body }).catch(() => {});
}

/**
 * A page of the console in a fresh profile, signed in as `role` if one is given. `page.faults` gathers what must not
 * be; `page.settle()` fails of it.
 */
export async function visit({ browser, gateway },
    { role, at = '', theme = 'light', width = 1360, height = 900, expects = [], ...more } = {}) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, reducedMotion: 'reduce',
        ...more });
    open.push(context);
    await context.addInitScript(() => {
        globalThis.breaches = [];
        document.addEventListener('securitypolicyviolation', (event) =>
            globalThis.breaches.push(`${event.violatedDirective} ${event.blockedURI}`));
    });
    if (process.env.CONSOLE_FROM_TREE) await context.route('**/console/**', fromTree);
    const page = await context.newPage();
    page.setDefaultTimeout(10_000);
    page.faults = [];
    page.asked = [];
    page.on('console', (message) => {
        const text = `${message.text()} ${message.location().url}`;
        // Asking who is signed in is how a stranger finds out.
        if (text.includes('401') && text.endsWith('/v1/session')) return;
        if (['error', 'warning'].includes(message.type())
            && !expects.some((part) => text.includes(part))) page.faults.push(`console: ${text}`);
    });
    page.on('pageerror', (error) => page.faults.push(`error: ${error.stack}`));
    page.on('dialog', (dialog) => {
        page.faults.push(`a dialog of the browser: ${dialog.message()}`);
        dialog.dismiss();
    });
    page.on('request', (request) => {
        page.asked.push(request.url());
        if (!request.url().startsWith(`${gateway.admin}/`)) page.faults.push(`a request to ${request.url()}`);
    });
    page.go = (to) => page.goto(`${gateway.console}${to ? `#${to}` : ''}`);
    page.settle = async () => {
        const breaches = await page.evaluate(() => globalThis.breaches ?? []).catch(() => []);
        const all = [...page.faults, ...breaches.map((breach) => `content policy: ${breach}`)];
        if (all.length > 0) throw new Error(`the browser complains:\n${all.join('\n')}`);
    };
    page.title1 = (text) => page.getByRole('heading', { level: 1, name: text }).waitFor();
    page.press = (name) => page.getByRole('button', { name, exact: true }).click();
    page.follow = (name) => page.getByRole('link', { name, exact: true }).first().click();
    page.choose = (name) => page.getByRole('radio', { name: new RegExp(`^${name}( |$)`) }).check();
    page.write = (label, text) => page.getByLabel(label, { exact: true }).fill(text);
    page.seen = (text) => page.getByText(text).first().waitFor();
    await page.go(role ? '' : at);
    if (role) {
        await page.getByLabel('Admin token').fill(gateway.tokens[role]);
        await page.keyboard.press('Enter');
        await page.getByRole('main').getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
        if (at) await page.go(at);
    }
    return page;
}
