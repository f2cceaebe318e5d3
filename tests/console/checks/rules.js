/**
 * What protects, and why: endpoints, who can reach what, decisions explained, and how it all does.
 */
import assert from 'node:assert/strict';
import { check } from '../check.js';
import { visit } from '../browser.js';

check('endpoints: each rule stands there with file and line, and who can reach it', async (here) => {
    const page = await visit(here, { role: 'viewer', at: '/endpoints' });
    const line = here.gateway.configuration.split('\n').findIndex((text) =>
        text.includes('match: DELETE /orders/:id')) + 1;
    await page.getByRole('row',
        { name: /DELETE \/orders\/:id.*groups\.admin && clientType == "backoffice"/ }).getByText(`gateway.yaml:${line}`).waitFor();
    await page.follow('Who can reach what');
    const row = page.getByRole('row', { name: /^orders/ });
    await row.waitFor();
    const cells = await row.getByRole('cell').allInnerTexts();
    const heads = await page.getByRole('columnheader').allInnerTexts();
    const of = (type) => cells[heads.indexOf(type) - 1];
    assert.match(of('no key'), /cannot/);
    assert.match(of('cms'), /can if/);
    assert.match(await page.getByRole('row', { name: /^catalogue/ }).getByRole('cell').first().innerText(), /can/);
    const cell = row.getByRole('cell').nth(heads.indexOf('cms') - 1);
    await cell.locator('summary').click();
    await cell.getByText(/GET: orders\.read/).waitFor();
    await page.settle();
});

check('explain: the rule, each step, and the change that would admit the call, which then does', async (here) => {
    const key = await here.gateway.key('explained',
        { client: { id: 'explained', client_type: 'cms' }, permissions: ['orders.read'] });
    const page = await visit(here, { role: 'viewer', at: '/explain' });
    await page.getByLabel('Method').selectOption('POST');
    await page.write('Path', '/orders');
    await page.choose('A key, itself');
    await page.write('The key', key.secret);
    await page.press('Explain');
    await page.getByRole('heading', { name: 'Refused permission_missing' }).waitFor();
    await page.locator('.remedy', { hasText: /grant orders\.write to/ }).waitFor();
    await page.getByRole('listitem').filter({ hasText: 'client explained of type cms' }).waitFor();
    assert.equal(await page.getByLabel('The key').inputValue(), '');
    assert.ok(!page.asked.join().includes(key.secret) && !page.url().includes(key.secret));
    await here.gateway.ask('PATCH', `/v1/keys/${key.id}`, { permissions: ['orders.write'] });
    await page.choose('A key, by its id');
    await page.write('Key id', key.id);
    await page.press('Explain');
    await page.getByRole('heading', { name: 'Admitted' }).waitFor();
    await page.reload();
    await page.getByRole('heading', { name: 'Admitted' }).waitFor();
    await page.choose('Nobody');
    await page.press('Explain');
    await page.getByRole('heading', { name: 'Refused credential_missing' }).waitFor();
    await page.settle();
});

check('overview: traffic shows as it comes, by verdict and reason', async (here) => {
    const key = await here.gateway.key('busy');
    const page = await visit(here, { role: 'viewer' });
    const load = async () => {
        for (let number = 0; number < 20; number += 1) {
            await here.gateway.call('GET', '/orders/1', { 'x-api-key': key.secret });
            await here.gateway.call('GET', '/orders/1');
        }
    };
    await load();
    await page.getByText('Credential missing').waitFor({ timeout: 12_000 });
    await page.getByRole('link', { name: 'orders', exact: true }).waitFor();
    const tile = page.locator('.tile', { hasText: 'Admitted' }).locator('.tile-value');
    assert.match(await tile.innerText(), /^\d/);
    await page.getByRole('button', { name: 'Table' }).first().click({ timeout: 15_000 });
    await page.getByRole('region', { name: /by verdict/ }).getByRole('row').nth(1).waitFor();
    await page.getByRole('row', { name: /^billing/ }).waitFor();
    await page.settle();
});

check('overview: a change of the configuration that is refused is told with its diagnostics, until it is mended',
    async (here) => {
    const page = await visit(here, { role: 'admin', expects: ['422 ('] });
    await here.gateway.configure(here.gateway.configuration.replace('client_types: [cms, backoffice]',
        'client_typs: [cms, backoffice]'));
    await page.getByText(/The last change of the configuration was refused/).waitFor({ timeout: 12_000 });
    await page.getByText(/client_typs/).first().waitFor();
    await page.press('Read it again');
    await page.locator('.notice-bad').waitFor();
    await here.gateway.configure(`${here.gateway.configuration}\n# mended\n`);
    await page.getByText(/The last change of the configuration was refused/).waitFor({ state: 'detached',
        timeout: 12_000 });
    await page.settle();
});
