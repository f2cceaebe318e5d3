/**
 * Keys: found, filtered, used, rotated, switched off, taken away.
 */
import assert from 'node:assert/strict';
import { check } from '../check.js';
import { visit } from '../browser.js';
import { until } from '../gateway.js';
import { take } from './seeds.js';

check('keys: a pasted key is found, and is in no address, storage or history', async (here) => {
    const key = await here.gateway.key('lost and found');
    const page = await visit(here, { role: 'viewer', at: '/keys', permissions: ['clipboard-write'] });
    const field = page.getByLabel('Search keys');
    for (const way of ['paste', 'type']) {
        await page.go('/keys');
        await field.waitFor();
        if (way === 'paste') {
            await page.evaluate((text) => navigator.clipboard.writeText(text), key.secret);
            await field.focus();
            await page.keyboard.press('Control+V');
        } else {
            await field.fill(key.secret);
        }
        await page.title1('lost and found');
    }
    await page.goBack();
    await page.title1('API keys');
    assert.equal(await field.inputValue(), '');
    const kept = await page.evaluate(() =>
        JSON.stringify([{ ...localStorage }, { ...sessionStorage }, location.href, history.state,
        document.documentElement.outerHTML]));
    assert.ok(!kept.includes(key.secret));
    assert.ok(!page.asked.join().includes(key.secret), 'it stood in an address');
    await field.fill('mb_live_00000000000000000000000000000000000000');
    await page.seen('This gateway holds no such key');
    assert.ok(!page.url().includes('mb_live_'));
    assert.ok(!(await here.gateway.remains()).includes(key.secret), 'the gateway has kept it');
    await page.settle();
});

check('keys: filters and order stand in the address, and outlive a reload', async (here) => {
    for (const name of ['alpha one', 'alpha two', 'beta one']) await here.gateway.key(name,
        { description: 'for the filters' });
    await here.gateway.key('alpha pub', { type: 'publishable', client: { id: 'site', client_type: 'browser' } });
    const page = await visit(here, { role: 'viewer', at: '/keys' });
    const names = () => page.getByRole('rowheader').locator('.row-link').allInnerTexts();
    const are = (list) => until(async () => JSON.stringify(await names()) === JSON.stringify(list), () =>
        `the list is not ${list}`);
    await page.getByLabel('Search keys').fill('alpha');
    await page.getByRole('button', { name: 'Name' }).click();
    await are(['alpha one', 'alpha pub', 'alpha two']);
    await page.getByRole('button', { name: 'Name' }).click();
    await are(['alpha two', 'alpha pub', 'alpha one']);
    assert.equal(await page.getByRole('columnheader', { name: 'Name' }).getAttribute('aria-sort'), 'descending');
    await page.press('Secret');
    await are(['alpha two', 'alpha one']);
    await page.reload();
    await are(['alpha two', 'alpha one']);
    await page.getByLabel('Status').selectOption('disabled');
    await page.seen('No key matches');
    await page.follow('Show all keys');
    await page.getByLabel('Report').selectOption('never_used');
    await until(async () => (await names()).includes('alpha one'));
    await page.getByLabel('Client type').selectOption('browser');
    await until(async () => (await names()).includes('alpha pub') && !(await names()).includes('alpha one'));
    assert.match(page.url(), /#\/keys\?report=never_used&client_type=browser$/);
    await page.settle();
});

check('keys: what a key is used for shows by day and endpoint, and in the list', async (here) => {
    const key = await here.gateway.key('in use');
    for (let number = 0; number < 7; number += 1) await here.gateway.call('GET', '/orders/1',
        { 'x-api-key': key.secret });
    await here.gateway.call('DELETE', '/orders/1', { 'x-api-key': key.secret });
    const page = await visit(here, { role: 'viewer', at: `/keys/${key.id}` });
    await page.seen('7 requests admitted, 1 refused');
    await page.getByText('As a table').click();
    await page.getByRole('row', { name: /orders 7 1/ }).waitFor();
    await page.getByRole('row', { name: /per-key 10000 in 1h key 9,993 left/ }).waitFor();
    await page.go('/keys?q=in+use');
    await page.getByRole('img', { name: '8 requests in 14 days' }).waitFor();
    await page.settle();
});

check('keys: rotated with overlap, seen who is not through, finished early; and rotated now', async (here) => {
    const key = await here.gateway.key('to be rotated');
    const is = async (secret, status) =>
        assert.equal((await here.gateway.call('GET', '/orders/1', { 'x-api-key': secret })).status, status);
    const page = await visit(here, { role: 'developer', at: `/keys/${key.id}` });
    await page.press('Rotate');
    await page.choose('7 days');
    await page.seen('Both are good for 7 days');
    await page.press('Make the new secret');
    const second = await take(page);
    await is(key.secret, 200);
    await is(second, 200);
    await is(key.secret, 200);
    await page.seen('Somebody still uses the old secret');
    await page.getByRole('row', { name: /superseded.*in 7 days.*127\.0\.0\.1 orders/ }).waitFor();
    await page.go('/keys?report=rotating');
    await page.seen('old secret in use');
    await page.go(`/keys/${key.id}`);
    await page.press('Finish it now');
    await page.seen('The rotation is finished');
    await is(key.secret, 401);
    await page.press('Rotate');
    await page.choose('Now');
    await page.seen('Whoever still shows the old secret is refused from now on.');
    await page.press('Make the new secret');
    const third = await take(page);
    await is(second, 401);
    await is(third, 200);
    await page.press('Rotate');
    await page.choose('Other');
    await page.write('Days', '2');
    await page.getByLabel('Start counting when the new secret is first used').check();
    await page.seen('The old secret ends 2 days after the new one was first used.');
    await page.press('Make the new secret');
    const fourth = await take(page);
    await page.seen('Nobody has used the new secret yet.');
    await page.press('Take the rotation back');
    await page.seen('The rotation is taken back');
    await is(third, 200);
    await is(fourth, 401);
    await page.settle();
});

check('keys: edited, disabled with a reason, enabled; each stands in the history', async (here) => {
    const key = await here.gateway.key('to be changed');
    const page = await visit(here, { role: 'developer', at: `/keys/${key.id}`, expects: ['422'] });
    await page.press('Edit');
    await page.write('Name', 'was changed');
    await page.getByLabel('Networks').fill('nonsense');
    await page.press('Save');
    await page.locator('.field-error:not(:empty)').first().waitFor();
    await page.getByLabel('Networks').fill('127.0.0.0/8');
    await page.press('Save');
    await page.title1('was changed');
    await page.press('Disable');
    await page.getByLabel('Reason').fill('stood in a repository');
    await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).click();
    await page.seen('Disabled just now');
    assert.equal((await here.gateway.call('GET', '/orders/1', { 'x-api-key': key.secret })).status, 401);
    await page.press('Enable');
    await until(async () => (await here.gateway.call('GET', '/orders/1', { 'x-api-key': key.secret })).status === 200);
    for (const words of ['Key created', 'Key changed', 'Key disabled', 'Key enabled']) await page.seen(words);
    await page.seen('stood in a repository');
    await page.getByRole('button', { name: /What changed/ }).last().scrollIntoViewIfNeeded();
    await page.settle();
});

check('keys: several are disabled together, and what cannot be is left out', async (here) => {
    const keys = [];
    for (const name of ['bulk one', 'bulk two', 'bulk three']) keys.push(await here.gateway.key(name));
    const page = await visit(here, { role: 'developer', at: '/keys?q=bulk' });
    await page.getByLabel('Choose bulk one').check();
    await page.getByLabel('Choose bulk three').check();
    await page.seen('2 keys chosen');
    await page.press('Disable…');
    await page.getByLabel('Reason').fill('all of them');
    await page.press('Disable 2 keys');
    await page.seen('2 keys disabled.');
    for (const [index, status] of [401, 200, 401].entries()) {
        assert.equal((await here.gateway.call('GET', '/orders/1', { 'x-api-key': keys[index].secret })).status, status);
    }
    await page.go('/keys?q=written+in+a+file');
    assert.ok(await page.getByLabel('Choose written in a file').isDisabled());
    await page.settle();
});

check('keys: a name that is taken, and an end that is past, are told of and nothing is lost', async (here) => {
    await here.gateway.key('taken');
    const page = await visit(here, { role: 'developer', at: '/new-key', expects: ['409', '422'] });
    await page.write('Name', 'taken');
    await page.choose('A client');
    await page.write('Client', 'shop');
    await page.seen('of type cms');
    await page.choose('On a date');
    await page.write('Expires at', '2020-01-01T00:00');
    await page.press('Create API key');
    await page.getByText('is past: state a moment to come').last().waitFor();
    await page.choose('30 days');
    await page.press('Create API key');
    await page.locator('.banner-bad').getByText(/name/).first().waitFor();
    assert.equal(await page.getByLabel('Name', { exact: true }).inputValue(), 'taken');
    await page.write('Name', 'taken no more');
    await page.press('Create API key');
    await take(page);
    await page.title1('taken no more');
    await page.settle();
});

check('keys: what a screen shows as a command, and with curl, does the same', async (here) => {
    await here.gateway.key('for the shell', { description: "it's \"quoted\" $HOME" });
    const page = await visit(here, { role: 'viewer', at: '/keys?q=for+the+shell&type=secret&order=name' });
    await page.press('Show as command');
    const [command, curl] = await page.getByRole('dialog').locator('pre').allInnerTexts();
    assert.match(await here.gateway.shell(command), /for the shell/);
    assert.match(await here.gateway.shell(curl.replace('curl', 'curl -s')), /"name": ?"for the shell"/);
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await until(() => page.evaluate(() => document.activeElement.innerText === 'Show as command'), () =>
        'the focus is lost');
    const developer = await visit(here, { role: 'developer', at: '/new-key' });
    await developer.write('Name', "made by the shell's command");
    await developer.getByLabel('Description').fill("it's $(touch never)");
    await developer.choose('A client');
    await developer.write('Client', 'shop');
    await developer.seen('of type cms');
    await developer.choose('Restricted');
    await developer.getByRole('group', { name: 'orders' }).getByLabel('read').check();
    const line = await developer.getByLabel('The same as a command').locator('pre').innerText();
    await here.gateway.shell(line);
    const [made] = (await here.gateway.ask('GET', '/v1/keys?q=made+by')).json.items;
    assert.deepEqual([made.name, made.description, made.permissions],
        ["made by the shell's command", "it's $(touch never)", ['orders.read']]);
    await page.settle();
    await developer.settle();
});
