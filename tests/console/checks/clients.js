/**
 * Clients and their owners, the audit log, admin tokens.
 */
import assert from 'node:assert/strict';
import { check } from '../check.js';
import { visit } from '../browser.js';

check('clients: made, changed, disabled, enabled and removed, with what that does to its keys', async (here) => {
    const page = await visit(here, { role: 'developer', at: '/clients' });
    await page.getByRole('button', { name: 'Create client' }).first().click();
    const form = page.getByRole('dialog');
    await page.write('Id', 'partner-1');
    await form.getByLabel('Name').fill('The partner');
    await form.getByLabel('Client type', { exact: true }).fill('cms');
    await page.choose('Restricted');
    await page.getByRole('group', { name: 'orders' }).getByLabel('read').check();
    await page.getByRole('dialog').getByRole('button', { name: 'Create client' }).click();
    await page.title1('The partner');
    await page.getByRole('link', { name: 'Create API key' }).click();
    assert.equal(await page.getByLabel('Client', { exact: true }).inputValue(), 'partner-1');
    const key = await here.gateway.key('of the partner', { client: 'partner-1' });
    const is = async (method, status) =>
        assert.equal((await here.gateway.call(method, '/orders', { 'x-api-key': key.secret })).status, status);
    await page.go('/clients/partner-1');
    await page.getByRole('row', { name: /of the partner/ }).waitFor();
    await is('GET', 200);
    await is('POST', 403);
    await page.press('Edit');
    await page.getByRole('group', { name: 'orders' }).getByLabel('write').check();
    await page.press('Save');
    await page.seen('The client is changed');
    await is('POST', 200);
    await page.press('Disable');
    await page.getByLabel('Reason').fill('has not paid');
    await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).click();
    await page.seen('all its keys are refused');
    await is('GET', 401);
    await page.press('Enable');
    await page.seen('The client is enabled.');
    await is('GET', 200);
    await page.press('Remove');
    await page.getByLabel('Type partner-1 to confirm').fill('partner-1');
    await page.press('Remove for good');
    await page.seen('1 key revoked');
    await is('GET', 401);
    await page.settle();
});

check('clients: a person who leaves is removed, and what was theirs is switched off', async (here) => {
    const key = await here.gateway.key('of anna',
        { client: { id: 'anna', client_type: 'cms', owner: { kind: 'user', id: 'anna' } } });
    const page = await visit(here, { role: 'developer', at: '/clients?show=owners' });
    await page.getByRole('button', { name: 'Remove… anna' }).click();
    assert.ok(await page.getByRole('radio', { name: /^Disable/ }).isChecked());
    await page.press('Remove');
    await page.seen('anna is removed');
    assert.equal((await here.gateway.call('GET', '/orders/1', { 'x-api-key': key.secret })).status, 401);
    await page.settle();
});

check('audit: who did what is found by actor, action and target, with what changed', async (here) => {
    const key = await here.gateway.key('watched', {});
    await here.gateway.ask('PATCH', `/v1/keys/${key.id}`, { description: 'another' }, { role: 'developer' });
    const page = await visit(here, { role: 'viewer', at: '/audit' });
    await page.getByLabel('Action').fill('key.changed');
    await page.keyboard.press('Enter');
    await page.getByLabel('Actor').fill('token:developer');
    await page.keyboard.press('Enter');
    await page.getByLabel('Target').fill(key.id);
    await page.keyboard.press('Enter');
    await page.getByText('1 shown, that is all').waitFor();
    await page.getByRole('button', { name: /What changed/ }).click();
    await page.getByRole('row', { name: /description – another/ }).waitFor();
    assert.match(page.url(), /action=key\.changed&actor=token%3Adeveloper/);
    await page.getByRole('link', { name: 'watched' }).click();
    await page.title1('watched');
    await page.settle();
});

check('settings: an admin makes a token, which signs in, and takes it away, which ends its sessions', async (here) => {
    const page = await visit(here, { role: 'admin', at: '/settings' });
    await page.press('Create token');
    await page.write('Name', 'temporary');
    await page.choose('Developer');
    await page.choose('30 days');
    await page.getByRole('dialog').getByRole('button', { name: 'Create token' }).click();
    here.gateway.tokens.temporary = await page.getByLabel('The new token').innerText();
    await page.getByLabel('I have stored it').check();
    await page.press('Done');
    await page.getByRole('row', { name: /temporary Developer/ }).waitFor();
    const other = await visit(here, { role: 'temporary', expects: ['401'] });
    await page.getByRole('button', { name: 'Revoke… temporary' }).click();
    await page.getByLabel('Type temporary to confirm').fill('temporary');
    await page.press('Revoke for good');
    await page.seen('The token is revoked.');
    await other.follow('API keys');
    await other.seen('Your session has ended.');
    await page.settle();
    await other.settle();
});

check('settings: the configuration is shown as it was understood, without secrets', async (here) => {
    const page = await visit(here, { role: 'viewer', at: '/settings' });
    await page.seen('Policy for keys');
    const text = await page.getByRole('main').innerText();
    assert.match(text, /mb_live_/);
    assert.match(text, /environment: live/);
    assert.doesNotMatch(text, /kg_admin_[A-Za-z0-9]{20}/);
    assert.doesNotMatch(text, /09178b1f178ae82b/, 'a digest is shown');
    await page.settle();
});
