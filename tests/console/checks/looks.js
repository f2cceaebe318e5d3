/**
 * How it looks, and how it is used without eyes or without a mouse: pictures of each page in both themes and narrow,
 * the rules of axe, the keyboard alone, long lists, and the size of all of it.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { check } from '../check.js';
import { AXE, visit } from '../browser.js';
import { ROOT, until } from '../gateway.js';

const PICTURES = path.join(ROOT, 'target/console');

/** What the pictures show: a small company with some traffic. */
async function furnish(gateway) {
    if (gateway.isFurnished) return gateway.isFurnished;
    const soon = (days) => new Date(Date.now() + days * 86_400_000).toISOString();
    const of = (id, name, client_type, more = {}) => ({ id, name, client_type, ...more });
    const shop = of('web-shop', 'Web shop', 'cms');
    const acme = of('acme', 'Acme Ltd', 'partner', { tenant: 'acme' });
    const office = of('warehouse', 'Warehouse', 'backoffice',
        { groups: ['admin'], owner: { kind: 'machine', id: 'warehouse' } });
    const made = [];
    for (const [name, client, more] of [
        ['Nightly export', acme, { expires_at: soon(5), description: 'Orders of the day, to their warehouse' }],
        ['Shop front', shop, { permissions: ['orders.read'], description: 'Reads orders for the customer area' }],
        ['Price feed', shop, { permissions: 'read_only', expires_at: soon(200) }],
        ['Stock worker', office, { permissions: ['orders.read', 'orders.write'], expires_at: soon(90),
            description: 'Books goods in and out' }],
        ['Event tracker', of('website', 'Website', 'browser'),
            { type: 'publishable', description: 'In the pages of the shop' }],
        ['Partner dashboard', acme, { expires_at: soon(28) }],
        ['Old importer', shop, { description: 'Replaced by the price feed' }],
        ['Returns desk', office, { expires_at: soon(364) }],
    ]) made.push(await gateway.key(name, { client, ...more }));
    await gateway.ask('POST', `/v1/keys/${made[6].id}/disable`, { reason: 'not needed any more' });
    await gateway.ask('POST', `/v1/keys/${made[3].id}/rotate`, { grace_seconds: 604_800 });
    for (let number = 0; number < 60; number += 1) {
        for (const [index, key] of made.entries()) {
            if (number % (index + 1) === 0) await gateway.call(index === 4 ? 'POST' : 'GET', index === 4 ? '/events'
                : index === 0 || index === 5 ? '/projects/acme' : '/orders/17', { 'x-api-key': key.secret });
        }
        if (number % 9 === 0) await gateway.call('GET', '/orders/17');
        if (number % 14 === 0) await gateway.call('GET', '/orders/17', { 'x-api-key': 'mb_live_unknown' });
        await gateway.call('GET', '/catalogue');
    }
    gateway.isFurnished = made;
    return made;
}

const screens = (key) => ({
    overview: '/', keys: '/keys', 'new-key': '/new-key', key: `/keys/${key.id}`, clients: '/clients',
        owners: '/clients?show=owners', client: '/clients/warehouse', endpoints: '/endpoints',
    access: '/endpoints?show=access', explain: '/explain?method=POST&path=%2Forders&as=client&client=web-shop',
        audit: '/audit', settings: '/settings', nothing: '/keys?q=nothing+of+this+name', missing: '/no-such-page',
});

async function judge(page, what) {
    // What is measured after it was drawn has been by the second frame.
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    await page.evaluate(await readFile(AXE, 'utf8'));
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
    const grave = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    assert.deepEqual(grave.map(({ id, nodes }) =>
        `${what}: ${id}: ${nodes.slice(0, 3).map((node) =>
        `${node.html.slice(0, 160)} ${node.any[0]?.message ?? ''}`).join(' | ')}`), []);
}

for (const [theme, width] of [['light', 1360], ['dark', 1360], ['light', 390]]) {
    check(`looks: every page in ${theme}, ${width} wide, without grave findings of axe`, async (here) => {
        await mkdir(PICTURES, { recursive: true });
        const [, , , rotating] = await furnish(here.gateway);
        const narrow = width < 500;
        const picture = (name) => path.join(PICTURES, `${name}-${narrow ? 'narrow' : theme}.png`);
        const stranger = await visit(here, { theme, width, height: narrow ? 800 : 860 });
        await stranger.getByRole('heading', { level: 1 }).waitFor();
        await judge(stranger, 'sign-in');
        await stranger.screenshot({ path: picture('sign-in') });
        const page = await visit(here, { role: 'admin', theme, width, height: narrow ? 800 : 860, expects: ['404 ('] });
        for (const [name, at] of Object.entries(screens(rotating))) {
            await page.go(at);
            await page.getByRole('heading', { level: 1 }).waitFor();
            await page.waitForLoadState('networkidle');
            if (name === 'overview') await page.getByRole('button',
                { name: 'Table' }).first().waitFor({ timeout: 15_000 });
            if (name === 'explain') await page.getByRole('heading', { name: /Refused|Admitted/ }).waitFor();
            await judge(page, name);
            const wide = await page.evaluate(() => [...document.querySelectorAll('body *')]
                .filter((one) => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1
                    && !one.closest('.table-scroll, pre, .chart-table, .unseen, thead'))
                .map((one) => `${one.tagName} ${one.className}`));
            assert.deepEqual(wide.slice(0, 5), [], `${name} is too wide`);
            await page.screenshot({ path: picture(name), fullPage: !['audit', 'keys', 'clients'].includes(name) });
        }
        await page.go(`/keys/${rotating.id}`);
        for (const [button, name] of [['Rotate', 'rotate'], ['Revoke', 'revoke'], ['Show as command', 'show-as'],
            ['Edit', 'edit']]) {
            await page.press(button);
            await page.getByRole('dialog').waitFor();
            await judge(page, name);
            await page.screenshot({ path: picture(name) });
            await page.keyboard.press('Escape');
            await page.getByRole('dialog').waitFor({ state: 'detached' });
        }
        if (theme === 'light' && !narrow) {
            // The choice outlives a reload, and is nothing but a word.
            await page.press('Show in dark colours');
            await page.reload();
            await page.getByRole('button', { name: 'Show in light colours' }).waitFor();
            assert.equal(await page.evaluate(() => JSON.stringify({ ...localStorage })), '{"keygate.theme":"dark"}');
        }
        await page.settle();
    });
}

check('looks: a key is made, rotated and revoked with the keyboard alone', async (here) => {
    await here.gateway.key('of the shop');
    const page = await visit(here, { role: 'developer' });
    const focused = () => page.evaluate(() => {
        const { activeElement: at } = document;
        return (at.getAttribute('aria-label') ?? (at.labels?.[0]?.innerText || at.innerText || at.name
            || '')).trim().split('\n')[0];
    });
    const reach = async (name) => {
        for (let step = 0; step < 60; step += 1) {
            if ((await focused()) === name) return;
            await page.keyboard.press('Tab');
        }
        throw new Error(`the keyboard does not reach ${name}; it is at ${await focused()}`);
    };
    const rings = () => page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle !== 'none');
    await reach('Skip to the content');
    await reach('API keys');
    assert.ok(await rings(), 'nobody sees where the focus is');
    await page.keyboard.press('Enter');
    await page.title1('API keys');
    await until(async () => (await focused()) === 'API keys'
        && (await page.evaluate(() => document.activeElement.tagName)) === 'H1');
    await reach('Create API key');
    await page.keyboard.press('Enter');
    await page.title1('Create API key');
    await reach('Name');
    await page.keyboard.type('by keyboard');
    await reach('You');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    await reach('Client');
    await page.keyboard.type('shop');
    await page.seen('of type cms');
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog');
    await dialog.waitFor();
    for (let step = 0; step < 12; step += 1) {
        await page.keyboard.press('Tab');
        assert.ok(await page.evaluate(() => document.activeElement === document.body
            || !!document.activeElement.closest('dialog')), 'the focus leaves the dialog');
    }
    await reach('I have stored it');
    await page.keyboard.press('Space');
    await reach('Done');
    await page.keyboard.press('Enter');
    await page.title1('by keyboard');
    await reach('Revoke');
    await page.keyboard.press('Enter');
    await dialog.waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    await until(async () => (await focused()) === 'Revoke', () => 'the focus did not come back');
    await page.keyboard.press('Enter');
    await reach('Type by keyboard to confirm');
    await page.keyboard.type('by keyboard');
    await page.keyboard.press('Enter');
    await page.seen('The key is revoked.');
    await page.settle();
});

check('looks: a long list is asked for in parts and stays small', async (here) => {
    const rows = Array.from({ length: 5000 }, (_, number) =>
        JSON.stringify({ name: `import ${number}`, client: 'bulk', client_type: 'cms',
        digest: `blake3:${number.toString(16).padStart(64, '0')}`,
        masked: `imp_…${String(number).padStart(4, '0')}` }));
    await writeFile(path.join(here.gateway.folder, 'bulk.jsonl'), rows.join('\n'));
    await here.gateway.command('keys', 'import', 'bulk.jsonl');
    const page = await visit(here, { role: 'viewer', at: '/keys?client=bulk' });
    await page.seen('50 shown; scroll for more');
    for (let step = 0; step < 40; step += 1) {
        await page.mouse.wheel(0, 4000);
        await page.waitForTimeout(30);
    }
    await until(async () => Number((await page.locator('.table-foot').innerText()).replace(/\D.*$|,/g, '')) >= 500
        || (await page.locator('.table-foot').innerText()).startsWith('1,'));
    assert.ok(await page.locator('tbody tr').count() < 90, 'rows pile up');
    const gap = await page.evaluate(() => {
        const rowsNow = [...document.querySelectorAll('tbody tr:not(.spacer)')].map((row) =>
            row.getBoundingClientRect());
        return rowsNow[0].top > 0 || rowsNow.at(-1).bottom < Math.min(innerHeight,
            document.querySelector('table').getBoundingClientRect().bottom) - 2;
    });
    assert.equal(gap, false, 'there is a hole on the screen');
    await page.settle();
});

check('looks: all of it is at most 80 KiB', async (here) => {
    const page = await visit(here);
    await page.waitForLoadState('networkidle');
    const files = await page.evaluate(() => ['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind))
        .filter(({ name }) => !name.includes('/v1/'))
        .map(({ name, transferSize, encodedBodySize }) => ({ name, transferSize, encodedBodySize })));
    const sum = (name) => files.reduce((all, file) => all + file[name], 0);
    console.log(`      ${files.length} files: ${(sum('encodedBodySize') / 1024).toFixed(1)} KiB, ${(sum('transferSize') / 1024).toFixed(1)} KiB with headers`);
    if (process.env.CONSOLE_FROM_TREE) return;
    assert.ok(sum('encodedBodySize') > 30_000, 'it was not measured');
    assert.ok(sum('transferSize') <= 80 * 1024, JSON.stringify(files));
    await page.settle();
});

check('looks: what is vendored is what was taken', async () => {
    const folder = path.join(ROOT, 'src/console/vendor');
    const listed = [...(await readFile(path.join(folder, 'VENDOR.md'),
        'utf8')).matchAll(/^\| `([\w.-]+)`.*`([0-9a-f]{64})` \|$/gm)];
    const files = (await readdir(folder)).filter((name) => /\.(js|css)$/.test(name));
    assert.deepEqual(listed.map(([, name]) => name).sort(), files.sort());
    for (const [, name, sum] of listed) {
        assert.equal(createHash('sha256').update(await readFile(path.join(folder, name))).digest('hex'), sum, name);
    }
});
