import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { launchChromium } from '../../tools/chromium.js';
import { describeInBrowser } from '../support/browser.js';
import { servers } from '../support/servers.js';
import { Stack } from '../support/stack.js';

const BASE = '/nightly/backups';

describeInBrowser('behind a path of a proxy', () => {
  let stack: Stack;
  let proxy: Server;
  let host: string;
  let strips: boolean;
  /** Requests outside the base path, and requests below it that were not found. */
  let astray: string[] = [];
  let browser: Browser;

  beforeAll(async () => {
    stack = await Stack.start({
      queueUrl: servers.redis,
      env: { BASE_PATH: `${BASE}/`, S3_PREFIX: `base-path-${Date.now()}/`, TRUST_PROXY: '127.0.0.1' },
    });
    proxy = createServer((incoming, outgoing) => {
      const { url = '', method, headers } = incoming;
      if (url !== BASE && !url.startsWith(`${BASE}/`)) {
        astray.push(url);
        return void outgoing.writeHead(404).end();
      }
      const path = strips ? url.slice(BASE.length) || '/' : url;
      const { port } = new URL(stack.url);
      const onward = request({ host: '127.0.0.1', port, path, method, headers }, (answer) => {
        if ((answer.statusCode ?? 500) >= 400) astray.push(`${answer.statusCode} ${url}`);
        outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(outgoing);
      });
      outgoing.on('close', () => onward.destroy());
      onward.on('error', () => outgoing.destroy());
      incoming.pipe(onward);
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    host = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser?.close();
    proxy?.closeAllConnections();
    proxy?.close();
    await stack?.stop();
  });

  async function logIn(page: Page): Promise<void> {
    await page.goto('admin/archives');
    expect(page.url()).toBe(`${host}${BASE}/admin/login?next=%2Fadmin%2Farchives`);
    await page.getByLabel('Email').fill(Stack.administrator.email);
    await page.getByLabel('Password').fill(Stack.administrator.password);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.waitForURL(`${host}${BASE}/admin/archives`);
  }

  test.each([
    ['passes on', false],
    ['takes away', true],
  ])('that it %s the console, the dashboard and the documentation work', async (_how, taken) => {
    [strips, astray] = [taken, []];
    const context = await browser.newContext({ baseURL: `${host}${BASE}/` });
    const page = await context.newPage();
    await logIn(page);
    const [cookie] = await context.cookies();
    expect(cookie).toMatchObject({ path: BASE, httpOnly: true });

    await page.goto('admin');
    await page.getByRole('button', { name: 'Start a backup', exact: true }).click();
    await page.waitForURL(new RegExp(`^${host}${BASE}/admin/daemons/\\d+$`));
    // The page reloads when the events report the end.
    await page.locator('.state', { hasText: 'Completed' }).first().waitFor();
    await page.locator('dd a').first().click();
    await page.waitForURL(new RegExp(`^${host}${BASE}/admin/archives/`));
    for (const link of await page.locator('nav a').all())
      expect(await link.getAttribute('href')).toMatch(new RegExp(`^${BASE}/`));

    await page.goto('admin/queues');
    await page.getByText('daemons').first().waitFor();
    await page.goto('docs');
    await page.getByText('/repo/v1/startBackupDaemon').first().waitFor();
    const document = await (await context.request.get('docs-json')).json();
    expect(document).toMatchObject({ servers: [{ url: BASE }] });

    await page.goto('admin');
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.waitForURL(`${host}${BASE}/admin/login?done=logged-out`);
    expect(astray).toEqual([]);
    await context.close();
  });

  test('a path that only begins alike is another', async () => {
    const ask = async (path: string) => (await fetch(stack.url + path)).status;
    expect([await ask(`${BASE}/health/live`), await ask('/health/live')]).toEqual([200, 200]);
    expect(await ask(`${BASE}-too/health/live`)).toBe(404);
  });

  test('malformed paths are answered behind a proxy with TLS as all are', async () => {
    const headers = { 'X-Forwarded-Proto': 'https' };
    for (const path of ['/%', `${BASE}/%ff`, '/none']) {
      const answer = await fetch(stack.url + path, { headers });
      expect([path, answer.headers.get('strict-transport-security')]).toEqual([path, 'max-age=31536000']);
    }
    expect((await fetch(`${stack.url}/%`)).headers.get('strict-transport-security')).toBeNull();
  });
});
