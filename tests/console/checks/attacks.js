/**
 * What others may try: markup in names, requests from other pages, frames, secrets left behind.
 */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { check } from '../check.js';
import { visit } from '../browser.js';
import { call } from '../gateway.js';

const MARKUP = `"><img src=x onerror=alert(1)><script>alert(2)</script>\${alert(3)}`;

check('attacks: markup in names, descriptions, reasons and client names is text everywhere', async (here) => {
    const key = await here.gateway.key(MARKUP,
        { description: `<svg onload=alert(4)>${MARKUP}`,
        client: { id: 'evil', name: `<b onmouseover=alert(5)>${MARKUP}`, client_type: 'cms' } });
    await here.gateway.ask('POST', `/v1/keys/${key.id}/disable`, { reason: `<iframe src=javascript:alert(6)>` });
    const page = await visit(here, { role: 'admin', expects: ['400 (', '404 (', '422 ('] });
    for (const at of ['/keys?q=onerror', `/keys/${key.id}`, '/clients?q=evil', '/clients/evil',
        `/audit?target=${key.id}`, `/keys?client=${encodeURIComponent(MARKUP)}`,
        `/endpoints?name=${encodeURIComponent(MARKUP)}`, `/keys/${encodeURIComponent(MARKUP)}`,
            `/explain?path=${encodeURIComponent(`/${MARKUP}`)}&as=nobody`, `/${encodeURIComponent(MARKUP)}`]) {
        await page.go(at);
        await page.getByRole('heading', { level: 1 }).waitFor();
        await page.waitForLoadState('networkidle');
        assert.equal(await page.locator('main img, main script, main iframe, [onerror], [onload], [onmouseover]').count(),
            0, at);
    }
    await page.go(`/keys/${key.id}`);
    await page.title1(MARKUP);
    await page.press('Revoke');
    await page.getByRole('dialog').getByLabel(/^Type /).fill(MARKUP);
    await page.press('Revoke for good');
    await page.seen('The key is revoked.');
    await page.settle();
});

check('attacks: a link with a script for an address runs nothing', async (here) => {
    const page = await visit(here, { role: 'admin', expects: ['400 (', '404 ('] });
    for (const at of ['javascript:alert(1)', '/keys?order=__proto__:down', '/keys?report=constructor',
        '/clients/..%2f..%2fv1%2fkeys', '/keys/%E0%A4%A']) {
        await page.go(at);
        await page.getByRole('heading', { level: 1 }).waitFor();
        await page.waitForLoadState('networkidle');
    }
    await page.settle();
});

check('attacks: another page can neither change nor read anything with the session, nor frame the console',
    async (here) => {
    const key = await here.gateway.key('not to be forged');
    const admin = here.gateway.admin;
    const other = createServer((_, answer) =>
        answer.writeHead(200, { 'content-type': 'text/html' }).end(`<!doctype html><title>other</title>
        <form id=f method=post enctype="text/plain" action="${admin}/v1/keys/${key.id}/disable"><input name='{"reason":"' value='"}'></form>
        <iframe id=frame src="${admin}/console/"></iframe>`));
    await new Promise((done) => other.listen(0, '127.0.0.1', done));
    const origin = `http://127.0.0.1:${other.address().port}`;
    try {
        const page = await visit(here, { role: 'admin' });
        const evil = await page.context().newPage();
        await evil.goto(origin);
        const outcomes = await evil.evaluate(async ([to, id]) => {
            const attempt = (options, path = `/v1/keys/${id}/disable`) =>
                fetch(to + path, { credentials: 'include', ...options })
                .then((answer) => answer.text().then((text) => `${answer.type} ${answer.status} ${text.length}`), () =>
                    'failed');
            return [
                await attempt({ method: 'POST', mode: 'no-cors', body: '{}' }),
                await attempt({ method: 'POST',
                    headers: { 'content-type': 'application/json', 'x-keygate-console': '1' }, body: '{}' }),
                await attempt({ method: 'DELETE' }, `/v1/keys/${id}`),
                await attempt({ mode: 'no-cors' }, '/v1/keys'),
                await attempt({}, '/v1/keys'),
            ];
        }, [admin, key.id]);
        for (const outcome of outcomes) assert.match(outcome, /^(failed|opaque 0 0)$/);
        await Promise.all([evil.waitForURL(/disable$/).catch(() => {}),
            evil.evaluate(() => document.getElementById('f').submit())]);
        assert.match(await evil.locator('body').innerText(), /cross_site|console|sign|refused|401|403/i);
        assert.equal((await here.gateway.call('GET', '/orders/1', { 'x-api-key': key.secret })).status, 200,
            'it was forged');
        await evil.goto(origin);
        const frame = evil.frames().find((one) => one !== evil.mainFrame());
        assert.equal(await frame.locator('input').count(), 0, 'it can be framed');
        const head = await call(`${admin}/console/`);
        assert.match(head.headers['content-security-policy'], /frame-ancestors 'none'/);
        assert.equal(head.headers['x-frame-options'], 'DENY');
        await page.settle();
    } finally {
        other.close();
    }
});

check('attacks: a copied cookie opens nothing without the header of the console', async (here) => {
    const page = await visit(here, { role: 'admin' });
    const cookie = (await page.context().cookies()).map(({ name, value }) => `${name}=${value}`).join('; ');
    const ask = async (headers, method = 'GET', path = '/v1/keys') =>
        (await call(here.gateway.admin + path, { method, headers: { cookie, ...headers } })).status;
    assert.notEqual(await ask({}), 200);
    assert.notEqual(await ask({ 'x-keygate-console': '1', 'sec-fetch-site': 'cross-site' }), 200);
    assert.notEqual(await ask({ 'x-keygate-console': '1', 'sec-fetch-site': 'same-site' }), 200);
    assert.notEqual(await ask({ 'x-keygate-console': '1', origin: 'http://evil.example' }, 'POST', '/v1/reload'), 200);
    assert.equal(await ask({ 'x-keygate-console': '1', 'sec-fetch-site': 'same-origin' }), 200);
    await page.settle();
});

check('attacks: guessing tokens is throttled, and the page says for how long', async (here) => {
    const page = await visit(here, { expects: ['401', '429'] });
    for (let guess = 0; guess < 12; guess += 1) {
        await page.write('Admin token', `kg_admin_guess${guess}`);
        // Each guess is answered before the next: a press while one is under way does nothing.
        const answered = page.waitForResponse((response) =>
            response.url().endsWith('/v1/session') && response.request().method() === 'POST');
        await page.press('Sign in');
        await answered;
        await page.locator('.banner-bad').waitFor();
        await page.getByRole('button', { name: 'Sign in' }).and(page.locator(':not([aria-disabled])')).waitFor();
    }
    await page.seen('Too many wrong tokens came from your address.');
    // Tokens that were good from here before stay heard: the other checks go on.
    assert.equal((await here.gateway.ask('GET', '/v1/whoami')).status, 200);
    await page.settle();
});
