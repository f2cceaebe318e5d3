/**
 * Who may do what: the screens offer no more than the role, and the server takes no more.
 */
import assert from 'node:assert/strict';
import { check } from '../check.js';
import { visit } from '../browser.js';

const CHANGES = /^(Create|Edit|Disable|Enable|Revoke|Rotate|Remove|Save|Finish|Take|Read it again|Choose)\b/;

check('roles: a viewer sees every screen and no button that would fail', async (here) => {
    const key = await here.gateway.key('seen by a viewer');
    const page = await visit(here, { role: 'viewer' });
    for (const at of ['/', '/keys', `/keys/${key.id}`, '/clients', '/clients/shop', '/clients?show=owners',
        '/endpoints', '/endpoints?show=access', '/explain', '/audit', '/settings']) {
        await page.go(at);
        await page.getByRole('heading', { level: 1 }).waitFor();
        await page.waitForLoadState('networkidle');
        const buttons = [...await page.getByRole('button').allInnerTexts(),
            ...await page.getByRole('main').getByRole('link').allInnerTexts()];
        assert.deepEqual(buttons.filter((text) => CHANGES.test(text.trim())), [], at);
        assert.equal(await page.getByRole('checkbox', { name: /Choose/ }).count(), 0);
    }
    await page.go('/new-key');
    await page.seen('Your role may not make keys');
    await page.settle();
});

check('roles: a developer manages keys, and neither tokens nor the configuration', async (here) => {
    const page = await visit(here, { role: 'developer' });
    await page.seen('Generation');
    assert.equal(await page.getByRole('button', { name: 'Read it again' }).count(), 0);
    await page.go('/settings');
    await page.seen('Only an admin sees and makes the tokens');
    assert.equal(await page.getByRole('button', { name: 'Create token' }).count(), 0);
    await page.settle();
});

check('roles: calling the API from the page of a lower role is refused', async (here) => {
    const key = await here.gateway.key('out of reach');
    const attempts = (role) => [
        ['viewer', 'POST', '/v1/keys', { name: 'x', client: 'shop' }],
            ['viewer', 'POST', `/v1/keys/${key.id}/disable`, {}],
        ['viewer', 'DELETE', `/v1/keys/${key.id}`], ['viewer', 'POST', `/v1/keys/${key.id}/rotate`, {}],
            ['viewer', 'POST', '/v1/disable', { ids: [key.id] }],
        ['viewer', 'PATCH', '/v1/clients/shop', { name: 'x' }], ['viewer', 'POST', '/v1/reload', {}],
            ['developer', 'POST', '/v1/reload', {}],
        ['developer', 'GET', '/v1/admin-tokens'],
            ['developer', 'POST', '/v1/admin-tokens', { name: 'mine', role: 'admin' }],
    ].filter(([of]) => of === role);
    for (const role of ['viewer', 'developer']) {
        const page = await visit(here, { role, expects: ['403'] });
        for (const [, method, path, body] of attempts(role)) {
            const status = await page.evaluate(async ([how, where, what]) => (await fetch(where, {
                method: how, body: what && JSON.stringify(what),
                    headers: { 'content-type': 'application/json', 'x-keygate-console': '1' },
            })).status, [method, path, body]);
            assert.equal(status, 403, `${role} ${method} ${path}`);
        }
        await page.settle();
    }
    assert.equal((await here.gateway.call('GET', '/orders/1', { 'x-api-key': key.secret })).status, 200);
});
