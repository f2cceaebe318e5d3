/**
 * Signing in and out.
 */
import assert from 'node:assert/strict';
import { check } from '../check.js';
import { visit } from '../browser.js';
import { call } from '../gateway.js';

check('session: a wrong token is refused with a word on what to do, and a good one opens the page that was asked for',
    async (here) => {
    const page = await visit(here, { at: '/keys', expects: ['401'] });
    await page.write('Admin token', 'kg_admin_wrong');
    await page.press('Sign in');
    await page.seen('This token is not good');
    await page.write('Admin token', here.gateway.tokens.developer);
    await page.keyboard.press('Enter');
    await page.title1('API keys');
    await page.settle();
});

check('session: it is a cookie that no script reads, and the token is kept nowhere', async (here) => {
    const page = await visit(here, { role: 'admin' });
    const [cookie] = await page.context().cookies();
    assert.equal(cookie.httpOnly, true);
    assert.equal(cookie.sameSite, 'Strict');
    assert.ok(cookie.expires > Date.now() / 1000 && cookie.expires < Date.now() / 1000 + 13 * 3600,
        `expires ${cookie.expires}`);
    const kept = await page.evaluate(() =>
        JSON.stringify([{ ...localStorage }, { ...sessionStorage }, location.href, document.cookie, history.state,
        document.documentElement.outerHTML]));
    assert.ok(!kept.includes(here.gateway.tokens.admin));
    assert.ok(!page.asked.join().includes(here.gateway.tokens.admin));
    await page.reload();
    await page.title1('Overview');
    await page.settle();
});

check('session: signing out ends it on the server, and everywhere ends the others', async (here) => {
    const [one, other] = [await visit(here, { role: 'developer', expects: ['401'] }),
        await visit(here, { role: 'developer', expects: ['401'] })];
    const cookie = async (page) => (await page.context().cookies()).map(({ name, value }) =>
        `${name}=${value}`).join('; ');
    const shown = await cookie(one);
    await one.press('Sign out');
    await one.seen('You are signed out.');
    const again = await call(`${here.gateway.admin}/v1/whoami`,
        { headers: { cookie: shown, 'x-keygate-console': '1', 'sec-fetch-site': 'same-origin' } });
    assert.equal(again.status, 401);
    const third = await visit(here, { role: 'developer' });
    await third.follow('Settings');
    await third.press('Sign out everywhere');
    await third.seen('You are signed out everywhere.');
    await other.follow('Clients');
    await other.seen('Your session has ended.');
    await one.settle();
    await third.settle();
});

check('session: whoever walks away is warned, and then signed out', async (here) => {
    const page = await visit(here, { role: 'viewer', expects: ['401'] });
    await page.clock.install();
    await page.reload();
    await page.title1('Overview');
    await page.clock.fastForward(29 * 60_000);
    await page.getByRole('dialog', { name: 'Are you still there?' }).waitFor();
    await page.press('Stay signed in');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.clock.fastForward(31 * 60_000);
    await page.seen('You were signed out');
    assert.deepEqual(await page.context().cookies(), []);
    await page.settle();
});
