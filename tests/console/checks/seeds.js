/**
 * Five services describe a page called API keys, each in its own words. Every step that they describe is done here, and
 * every key made is used as they say.
 */
import assert from 'node:assert/strict';
import { check } from '../check.js';
import { visit } from '../browser.js';
import { until } from '../gateway.js';

/** Reads the key that is shown once, and says that it is stored. */
export async function take(page) {
    const dialog = page.getByRole('dialog');
    const secret = await dialog.getByLabel('The new key').innerText();
    await page.keyboard.press('Escape');
    await page.keyboard.press('Escape');
    assert.ok(await dialog.isVisible(), 'a slip of a finger loses the key');
    assert.ok(await dialog.getByRole('button', { name: 'Done' }).isDisabled());
    await dialog.getByLabel('I have stored it').check();
    await dialog.getByRole('button', { name: 'Done' }).click();
    await dialog.waitFor({ state: 'detached' });
    return secret;
}

check('seed 0: a customer makes a key by its name and uses it in X-Api-Key', async (here) => {
    const page = await visit(here, { role: 'developer', permissions: ['clipboard-write'] });
    await page.follow('API keys');
    await page.title1('API keys');
    await page.getByRole('link', { name: 'Create API key' }).first().click();
    await page.write('Name', 'carbon report');
    await page.choose('A client');
    await page.write('Client', 'maalbar');
    await page.write('Client type', 'cms');
    await page.getByLabel('Tenant').fill('maalbar-customer');
    await page.press('Create API key');
    await page.press('Copy key');
    const secret = await take(page);
    assert.match(secret, /^mb_live_[0-9A-Za-z]{30,}$/);
    await page.title1('carbon report');
    assert.equal((await here.gateway.call('GET', '/projects/maalbar-customer', { 'X-Api-Key': secret })).status, 200);
    assert.equal((await here.gateway.call('GET', '/projects/another', { 'X-Api-Key': secret })).status, 403);
    assert.ok(!(await page.content()).includes(secret), 'it can be seen again');
    await page.go('/keys');
    await page.getByLabel('Search keys').focus();
    await page.keyboard.press('Control+V');
    await page.title1('carbon report');
    await page.settle();
});

check('seed 1: a developer goes by Settings, enters a name and an end, and uses the key as a Bearer', async (here) => {
    const page = await visit(here, { role: 'developer' });
    await page.follow('Settings');
    await page.getByRole('main').getByRole('link', { name: 'API keys' }).click();
    await page.getByRole('link', { name: 'Create API key' }).first().click();
    await page.write('Name', 'billing sync');
    await page.choose('A client');
    await page.write('Client', 'billabear');
    await page.write('Client type', 'cms');
    await page.choose('On a date');
    await page.write('Expires at', '2030-01-31T12:00');
    await page.press('Create API key');
    const secret = await take(page);
    assert.equal((await here.gateway.call('GET', '/orders/1', { Authorization: `Bearer ${secret}` })).status, 200);
    const [key] = (await here.gateway.ask('GET', '/v1/keys?q=billing+sync')).json.items;
    assert.match(key.expires_at, /^2030-01-31T/);
    await page.settle();
});

check('seed 2: a key of one\'s own, its client type, switched off and on, used as secret, client-key and cookie',
    async (here) => {
    const page = await visit(here, { role: 'developer', at: '/new-key', expects: ['422'] });
    const own = 'chosen-by-hand-0123456789abcdef';
    await page.write('Name', 'marketplace');
    await page.getByLabel('Description').fill('Chosen by the partner');
    await page.choose('A client');
    await page.write('Client', 'mia');
    await page.write('Client type', 'backoffice');
    await page.getByText('More', { exact: true }).click();
    await page.getByLabel('Active').uncheck();
    await page.choose('Generate at random');
    await page.choose('Use my own');
    await page.write('The key', 'with blanks in it');
    await page.press('Create API key');
    await page.seen('it holds blanks');
    await page.write('The key', own);
    await page.press('Create API key');
    await page.getByRole('dialog').getByText('It is not shown again').waitFor();
    await page.press('Done');
    await page.title1('marketplace');
    assert.equal((await here.gateway.call('GET', '/orders/1', { secret: own })).status, 401);
    await page.press('Enable');
    await page.seen('The key is enabled.');
    for (const headers of [{ secret: own }, { 'client-key': own }, { cookie: `mia_client_key=${own}` }]) {
        assert.equal((await here.gateway.call('GET', '/orders/1', headers)).status, 200, JSON.stringify(headers));
    }
    assert.ok(!page.asked.join().includes(own));
    await page.settle();
});

check('seed 3: permissions all, read only or restricted; You or a Machine, which goes with its last key',
    async (here) => {
    const page = await visit(here, { role: 'developer', at: '/new-key' });
    await page.write('Name', 'only orders');
    await page.choose('You');
    await page.write('Client type', 'cms');
    await page.choose('Restricted');
    await page.getByRole('group', { name: 'orders' }).getByLabel('read').check();
    await page.press('Create API key');
    const restricted = await take(page);
    assert.equal((await here.gateway.call('GET', '/orders/1', { authorization: `Bearer ${restricted}` })).status, 200);
    const refused = await here.gateway.call('POST', '/orders', { authorization: `Bearer ${restricted}` });
    assert.equal(refused.status, 403);
    assert.deepEqual(refused.json.required, { permissions: ['orders.write'] });
    await page.seen('orders.read');

    await page.go('/new-key');
    await page.write('Name', 'Nightly Robot');
    await page.choose('Machine');
    await page.write('Client type', 'cms');
    await page.choose('Read only');
    await page.press('Create API key');
    const reading = await take(page);
    assert.equal((await here.gateway.call('GET', '/orders/1', { authorization: `Bearer ${reading}` })).status, 200);
    assert.equal((await here.gateway.call('POST', '/orders', { authorization: `Bearer ${reading}` })).status, 403);
    await page.go('/clients?show=owners');
    await page.getByRole('row', { name: /nightly-robot/ }).getByText('Machine').waitFor();
    await page.getByRole('row', { name: /developer/ }).getByText('Person').waitFor();
    await page.go('/keys?q=Nightly');
    await page.follow('Nightly Robot');
    await page.press('Revoke');
    await page.seen('It is the last key of a machine');
    await page.getByLabel('Type Nightly Robot to confirm').fill('Nightly Robot');
    await page.press('Revoke for good');
    await page.title1('API keys');
    assert.equal((await here.gateway.ask('GET', '/v1/clients/nightly-robot')).status, 404);
    await page.settle();
});

check('seed 4: publishable keys have a section of their own, are listed masked, and are taken away at once',
    async (here) => {
    const page = await visit(here, { role: 'developer', at: '/keys' });
    await page.press('Publishable');
    await page.getByRole('link', { name: 'Create API key' }).first().click();
    assert.ok(await page.getByRole('radio', { name: /^Publishable/ }).isChecked());
    await page.write('Name', 'my-app-key');
    await page.choose('A client');
    await page.write('Client', 'bkend');
    await page.write('Client type', 'browser');
    await page.press('Create API key');
    const secret = await take(page);
    assert.match(secret, /^pk_live_/);
    assert.equal((await here.gateway.call('POST', '/events', { 'X-API-Key': secret })).status, 200);
    assert.equal((await here.gateway.call('GET', '/orders/1', { 'X-API-Key': secret })).status, 403);
    await page.go('/keys?type=publishable');
    const row = page.getByRole('row', { name: /my-app-key/ });
    await row.getByText(`pk_live_…${secret.slice(-4)}`).waitFor();
    await row.getByRole('button', { name: /Copy/ }).click();
    await page.follow('my-app-key');
    await page.press('Revoke');
    assert.ok(await page.getByRole('button', { name: 'Revoke for good' }).isDisabled());
    await page.getByLabel('Type my-app-key to confirm').fill('my-app-key');
    await page.press('Revoke for good');
    await page.seen('The key is revoked.');
    assert.equal((await here.gateway.call('POST', '/events', { 'X-API-Key': secret })).status, 401);
    await page.go('/keys?status=revoked&type=publishable');
    await until(() => page.getByRole('row', { name: /my-app-key/ }).count());
    await page.settle();
});
