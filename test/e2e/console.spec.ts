import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hash } from '@node-rs/argon2';
import pg from 'pg';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import type { DaemonStatus, RepositoryIdentity } from '#contracts';
import { launchChromium } from '../../tools/chromium.js';
import { describeInBrowser } from '../support/browser.js';
import { eventually } from '../support/eventually.js';
import { contentsOf, largeTable } from '../support/large-table.js';
import { pageFaults } from '../support/page-faults.js';
import { Proxy } from '../support/proxy.js';
import { pathOf, routesFile } from '../support/routes.js';
import { servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';
import { tried } from '../support/tried.js';

/** Of the widest phone that must do, and of a desktop. */
const WIDTHS = [360, 1280];

const ROWS = 125_000;
/** Bytes a second that make a backup of these rows last for seconds: each row has some 140. */
const SLOWLY = 4_000_000;

describeInBrowser('the console', () => {
  const file = routesFile();
  let repository: string;
  /** The proxy between the worker and the repository. */
  let network: Proxy;
  let stack: Stack;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  /** The browser's errors, such as violations of the content security policy, and its requests to other hosts. */
  const complaints: string[] = [];

  beforeAll(async () => {
    // The pg_dump on PATH reads it.
    repository = await largeTable(servers.debianPostgres?.url, ROWS);
    network = await Proxy.to(repository);
    const throughNetwork = new URL(repository);
    throughNetwork.host = new URL(network.url).host;
    stack = await Stack.start({
      queueUrl: servers.redis,
      env: {
        ...file.env,
        REPOSITORY_URL: throughNetwork.href,
        REPOSITORY_SCHEMAS: 's',
        // Pages name archives without definitions as incomplete.
        BACKUP_DEFINITIONS: 'auto',
        S3_PREFIX: `console-${Date.now()}/`,
      },
    });
    browser = await launchChromium();
    context = await browser.newContext({ baseURL: stack.url });
    context.on('console', (message) => {
      // That a page answers 4xx is said there too, and is meant to be.
      if (
        ['error', 'warning'].includes(message.type()) &&
        !/responded with a status of 4/.test(message.text())
      )
        complaints.push(message.text());
    });
    context.on('request', (request) => {
      if (!request.url().startsWith(stack.url)) complaints.push(request.url());
    });
    page = await context.newPage();
  });
  afterAll(async () => {
    await browser?.close();
    await stack?.stop();
    await network?.close();
  });
  afterEach(() => expect(complaints).toEqual([]));

  const text = (selector = 'main') => page.locator(selector).innerText();
  const total = async () =>
    (await stack.call<{ total: number }>('GET', '/repo/v1/daemons?limit=1')).body.total;
  /** Clicks a button that leads to the page of a job. @returns its id */
  async function started(button: string): Promise<string> {
    await page.getByRole('button', { name: button, exact: true }).click();
    await page.waitForURL(/\/admin\/daemons\/\d+/);
    return /\d+$/.exec(new URL(page.url()).pathname)?.[0] ?? '';
  }
  async function shows(state: 'Completed' | 'Failed'): Promise<void> {
    await page.locator('.state', { hasText: state }).first().waitFor();
  }
  /** All that the card of what runs shows beside its bar, and all places of the bar, until it has ended. */
  async function watched(): Promise<{ places: Set<number>; texts: Set<string> }> {
    const places = new Set<number>();
    const texts = new Set<string>();
    const look = `(() => {
      const bar = document.querySelector('progress');
      return bar && { place: bar.value, texts: [...document.querySelectorAll('[data-show]')].map((one) => one.textContent) };
    })()`;
    await eventually(async () => {
      // While the page reloads, there is no bar.
      const seen = await page.evaluate<{ place: number; texts: string[] } | null>(look).catch(() => null);
      if (seen === null) return true;
      places.add(seen.place);
      for (const shown of seen.texts) texts.add(shown);
      return false;
    });
    return { places, texts };
  }
  async function openNewestArchive(): Promise<string> {
    await page.goto('/admin/archives');
    const name = await page.locator('tbody th .name').first().innerText();
    await page.locator('tbody th a').first().click();
    return name;
  }

  test('redirects to the login and from there to the requested page, by keyboard alone', async () => {
    await page.goto('/admin/daemons?type=BACKUP');
    expect(new URL(page.url()).pathname).toBe('/admin/login');
    const { email, password } = Stack.administrator;
    await page.keyboard.type(email);
    await page.keyboard.press('Tab');
    await page.keyboard.type('wrong');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').waitFor();
    expect(await text('[role=alert]')).toBe('The email or the password is wrong.');
    // The email is there still, and the password has the focus.
    await page.keyboard.type(password);
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/admin\/daemons\?type=BACKUP$/);
    expect(await text('h1')).toBe('Jobs');

    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Skip to the content');
    await page.keyboard.press('Enter');
    expect(await page.evaluate('document.activeElement.id')).toBe('main');
  });

  test('has a cookie that no script and no other site can use, for pages only', async () => {
    const [cookie, ...others] = await context.cookies();
    expect(others).toEqual([]);
    expect(cookie).toMatchObject({
      name: `snapshotd_session_${new URL(stack.url).port}`,
      path: '/',
      httpOnly: true,
      sameSite: 'Strict',
      expires: -1,
    });
    const headers = { cookie: `${cookie?.name}=${cookie?.value}` };
    const statuses = await Promise.all(
      ['/admin', '/admin/queues', '/docs', '/docs-json', '/repo/v1/daemons', '/auth/v1/keys', '/metrics'].map(
        async (path) => [path, (await stack.call('GET', path, undefined, headers)).status],
      ),
    );
    expect(Object.fromEntries(statuses)).toEqual({
      '/admin': 200,
      '/admin/queues': 200,
      '/docs': 200,
      '/docs-json': 200,
      '/repo/v1/daemons': 401,
      '/auth/v1/keys': 401,
      '/metrics': 401,
    });
    const { headers: answered } = await stack.call('GET', '/admin', undefined, headers);
    expect(answered.get('cache-control')).toBe('no-store');
    expect(answered.get('content-security-policy')).toMatch(/^default-src 'none'; script-src 'self';/);
  });

  test('leaves the session of another installation on this host alone', async () => {
    const other = await Stack.start({ workers: 0 });
    const visitor = await browser.newContext();
    try {
      const visit = await visitor.newPage();
      const { email, password } = Stack.administrator;
      for (const { url } of [stack, other]) {
        await visit.goto(`${url}/admin/login`);
        await visit.fill('[name=email]', email);
        await visit.fill('[name=password]', password);
        await visit.keyboard.press('Enter');
        await visit.waitForURL(`${url}/admin`);
      }
      await visit.getByRole('button', { name: 'Log out' }).click();
      await visit.getByText('You are logged out.').waitFor();
      await visit.goto(`${stack.url}/admin`);
      expect(await visit.locator('h1').innerText()).toBe('Overview');
    } finally {
      await visitor.close();
      await other.stop();
    }
  });

  test('starts a backup whose bar moves, with a rate and the time left, and shows its end', async () => {
    await page.goto('/admin');
    expect(await text()).toContain('There is no archive yet.');
    network.bytesPerSecond = SLOWLY;
    const id = await started('Start a backup');
    expect(await text()).toContain('The backup is started.');
    const { places, texts } = await watched();
    network.bytesPerSecond = Infinity;
    expect(places.size).toBeGreaterThan(2);
    for (const shown of [/^[\d,]+ of 125,000 entities$/, /^[\d,]+ entities\/s$/, /^about .+ left$/])
      expect([...texts]).toContainEqual(expect.stringMatching(shown));
    await shows('Completed');
    expect(await text()).toMatch(/Entities\s+125,000 of 125,000/);
    expect(await stack.status(id)).toMatchObject({
      type: 'BACKUP',
      status: 'COMPLETED',
      startedBy: Stack.administrator.email,
    });
  });

  test('lists the archives with size, age and verification, and verifies one', async () => {
    await openNewestArchive();
    expect(await text()).toMatch(/Verification\s+Not verified/);
    expect(await text()).toMatch(/s\.t\s+125,000/);
    await started('Verify');
    await shows('Completed');
    await page.goto('/admin/archives');
    expect(await text('tbody tr')).toMatch(
      /default, 20[-\d: ]+ UTC\s+BackupDaemonJob1-\d+\.zip\s+(just now|\d+ minutes? ago)\s+[\d.]+ MB\s+125,000\s+Verified: FIT just now, in [\d.]+ m?s/,
    );
    await page.goto('/admin');
    expect(await page.locator('rect.bar').count()).toBe(2);
  });

  test('shows the plan of a restore, and restores when the name of the database is typed', async () => {
    const before = await contentsOf(repository);
    await sql(repository, 'DELETE FROM s.t WHERE id % 2 = 0');
    const name = await openNewestArchive();
    await page.getByRole('link', { name: 'Restore' }).click();
    expect(await text()).toMatch(/PostgreSQL needs about \d\d MB of free disk space/);
    const daemons = await total();
    const plan = () => page.getByRole('button', { name: 'Show the plan' }).click();
    await page.getByLabel('Only these tables').fill('s.t');
    await plan();
    const database = new URL(repository).pathname.slice(1);
    expect(await text()).toContain(`Replaces 1 table, 125,000 rows, in ${database} at 127.0.0.1:`);
    expect(await text()).toMatch(/s\.t\s+125,000\s+[\d,]+/);
    await page.getByLabel('To confirm').fill(name);
    await page.getByRole('button', { name: 'Restore' }).click();
    expect(await text('[role=alert]')).toBe(`Nothing was done: to confirm, type ${database} into the field.`);
    expect(await page.getByLabel('Only these tables').inputValue()).toBe('s.t');
    expect(await total()).toBe(daemons);

    await page.getByLabel('Only these tables').fill('');
    await plan();
    await page.getByLabel('To confirm').fill(database);
    const id = await started('Restore');
    await shows('Completed');
    expect(await contentsOf(repository)).toEqual(before);
    const { safetyBackupUrl } = await stack.status(id);
    expect(await text()).toContain(safetyBackupUrl?.split('/').at(-1));
  });

  test('shows the newest check, and makes one', async () => {
    await page.goto('/admin');
    const card = '[aria-labelledby=check]';
    expect(await text(card)).toMatch(/1 warning\s+checked .* ago|just now/);
    await page.getByRole('button', { name: 'Check now' }).click();
    expect(await text('[role=status]')).toBe('The repository is checked.');
    expect(await text()).toMatch(/Warning\s+The role snapshotd is a superuser/);
    expect(await text()).toMatch(/OK\s+PostgreSQL answers at/);
  });

  test('terminates what runs', async () => {
    const lock = new pg.Client(repository);
    await lock.connect();
    try {
      await lock.query('BEGIN; LOCK TABLE s.t IN ACCESS EXCLUSIVE MODE');
      await page.goto('/admin');
      const id = await started('Start a backup');
      expect(await faultsOf(['/admin', `/admin/daemons/${id}`])).toEqual([]);
      await page.goto('/admin');
      await page.getByRole('link', { name: `Terminate backup ${id}` }).click();
      await page.getByRole('button', { name: 'Terminate' }).click();
      await shows('Failed');
      expect(await text()).toContain('Backup terminated by the user');
      expect(await stack.finished(id)).toMatchObject({ errorMessage: 'Backup terminated by the user' });
    } finally {
      await lock.end();
    }
  });

  test('shows the warnings of a worker and accepts its database', async () => {
    const recorded = async () =>
      (await stack.call<RepositoryIdentity>('GET', '/repo/v1/repository/identity')).body;
    const { identity } = await recorded();
    const button = page.getByRole('button', { name: 'Accept this database' });
    await page.goto('/admin');
    const workers = await text('[aria-labelledby=workers]');
    expect(workers).toContain('The role snapshotd is a superuser');
    expect(workers).toMatch(/^Workers\s+1 worker, [01] busy\s/);
    expect(workers).toContain(`Node ${process.versions.node}, pg_dump 15.`);
    expect(await button.count()).toBe(0);
    const elsewhere = { ...identity, databaseOid: 1 };
    await stack.call('PUT', '/repo/v1/repository/identity', elsewhere);
    await eventually(async () => (await page.goto('/admin'), (await button.count()) > 0), 100);
    expect(await text('[aria-labelledby=workers]')).toContain('Takes no jobs: REPOSITORY_URL leads to');
    expect(await faultsOf(['/admin'])).toEqual([]);
    await button.click();
    await page.getByText('The database is accepted.').waitFor();
    expect(await recorded()).toMatchObject({ identity, predecessors: [elsewhere] });
    await eventually(async () => (await page.goto('/admin'), (await button.count()) === 0), 100);
  });

  test('creates a schedule, reports its errors, changes it, shows its pruning, and deletes it', async () => {
    await page.goto('/admin/schedules');
    await page.getByRole('link', { name: 'New schedule' }).click();
    await page.getByLabel('Name').fill('nightly');
    await page.getByLabel('Cron pattern').fill('every night');
    await page.getByLabel('Monthly').fill('');
    await page.getByRole('button', { name: 'Create the schedule' }).click();
    expect(await text('[role=alert]')).toMatch(/^pattern: the pattern must have five fields/);
    expect(await page.getByLabel('Name').inputValue()).toBe('nightly');
    await page.getByLabel('Cron pattern').fill('30 2 * * *');
    await page.getByRole('button', { name: 'Create the schedule' }).click();
    await page.getByText('The schedule is saved.').waitFor();
    expect(await text('tbody')).toMatch(/nightly\s+30 2 \* \* \* UTC\s+in \d+ (hours?|minutes?)/);
    expect((await stack.call('GET', '/repo/v1/schedules/nightly')).body).toMatchObject({
      pattern: '30 2 * * *',
      then: 'READ',
      retention: { last: 3, daily: 7, weekly: 5 },
      createdBy: Stack.administrator.email,
    });

    await page.goto('/admin/new-schedule');
    await page.getByLabel('Name').fill('nightly');
    await page.getByRole('button', { name: 'Create the schedule' }).click();
    expect(await text('[role=alert]')).toMatch(/^There is a schedule of this name\./);

    await page.goto('/admin/schedules/nightly');
    await page.getByLabel('Enabled').uncheck();
    for (const count of ['Last', 'Daily', 'Weekly']) await page.getByLabel(count, { exact: true }).fill('');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('The schedule is saved.').waitFor();
    expect((await stack.call('GET', '/repo/v1/schedules/nightly')).body).toMatchObject({
      enabled: false,
      retention: null,
    });
    await page.getByRole('link', { name: 'nightly' }).click();
    await page.getByRole('link', { name: 'Pruning plan' }).click();
    expect(await text()).toContain('Nothing would be deleted.');

    await page.goto('/admin/schedules/nightly/delete');
    await page.getByRole('button', { name: 'Delete the schedule' }).click();
    await page.getByText('There is no schedule yet.').waitFor();
  });

  test('unfolds the errors of jobs, and deletes an archive when its name is typed', async () => {
    const name = await openNewestArchive();
    await page.goto(`/admin/archives/${name}/delete`);
    await page.getByLabel('To confirm').fill('another');
    await page.getByRole('button', { name: 'Delete' }).click();
    expect(await text('[role=alert]')).toMatch(/^Nothing was done/);
    await page.getByLabel('To confirm').fill(name);
    await page.getByRole('button', { name: 'Delete' }).click();
    await page.getByText('The archive is deleted.').waitFor();
    expect(await text()).not.toContain(name);

    const { body } = await stack.call<DaemonStatus>('POST', '/repo/v1/startVerifyDaemon', { url: name });
    const { errorMessage } = await stack.finished(body.id);
    await page.goto('/admin/daemons');
    await page.getByLabel('Type').selectOption('VERIFY');
    await page.getByLabel('Status').selectOption('FAILED');
    await page.getByRole('button', { name: 'Show' }).click();
    expect(await page.locator('article').count()).toBe(1);
    expect(await text('article')).toContain(errorMessage ?? '');
    expect(await page.locator('article pre').isVisible()).toBe(false);
    await page.locator('article summary').click();
    expect(await text('article pre')).toContain('STORE_OBJECT_MISSING');
  });

  const faultsOf = (pages: string[]) => pageFaults(browser, context, stack.url, { pages, widths: WIDTHS });

  test('has the accessibility that axe can see, in light and dark, and fits a phone', async () => {
    const name = await openNewestArchive();
    await stack.call('PUT', '/repo/v1/schedules/weekly', { pattern: '0 3 * * 0' });
    const faults = await faultsOf([
      '/admin',
      '/admin/archives',
      `/admin/archives/${name}`,
      `/admin/archives/${name}/restore`,
      `/admin/archives/${name}/delete`,
      '/admin/checks/default',
      '/admin/daemons',
      '/admin/daemons/1',
      '/admin/daemons/1/terminate',
      '/admin/schedules',
      '/admin/schedules/weekly',
      '/admin/schedules/weekly/pruning',
      '/admin/schedules/weekly/delete',
      '/admin/new-schedule',
      '/admin/login',
      '/admin/daemons/999',
    ]);
    expect(faults).toEqual([]);
    await stack.call('DELETE', '/repo/v1/schedules/weekly');
  });

  test('shows omissions and lost rows in amber, and confirms a loss', async () => {
    await sql(
      repository,
      `CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
       CREATE FOREIGN TABLE s.far (a int) SERVER nowhere; DELETE FROM s.t WHERE id > 1000`,
    );
    await page.goto('/admin');
    const id = await started('Start a backup');
    await page.locator('.state.remarked', { hasText: 'Completed with omissions and warnings' }).waitFor();
    const name = await openNewestArchive();
    const pages = ['/admin/archives', `/admin/archives/${name}/restore`, '/admin/schedules/lossy'];
    for (const path of pages.slice(0, 2)) {
      await page.goto(path);
      expect(await text()).toMatch(/omits rows of 1 foreign table/i);
      expect(await text()).toContain('s.t (from 125,000 to ');
    }

    await stack.call('PUT', '/repo/v1/schedules/lossy', { pattern: '0 3 * * 0' });
    await sql(
      stack.env['DATABASE_URL'] ?? '',
      `INSERT INTO snapshotd.schedule_archive (url, key, schedule, daemon, created_on, completed_on, shrunk)
       VALUES ('http://127.0.0.1/a.zip', 'a.zip', 'lossy', '1', now(), now(), true)`,
    );
    expect(await faultsOf(['/admin/daemons', `/admin/daemons/${id}`, ...pages])).toEqual([]);
    await page.goto('/admin/schedules');
    expect(await text('tbody')).toMatch(/Deletes no archives: rows are missing since 20[-\d: ]+ UTC/);
    await page.goto('/admin/schedules/lossy');
    await page.getByRole('button', { name: 'Confirm the loss' }).click();
    await page.locator('.notice.good').waitFor();
    expect(await page.locator('.remark, .notice.warning').count()).toBe(0);
    await stack.call('DELETE', '/repo/v1/schedules/lossy');
    await sql(repository, 'DROP FOREIGN DATA WRAPPER nowhere CASCADE');
  });

  test('works without scripts, except for the bar', async () => {
    const plain = await browser.newContext({
      baseURL: stack.url,
      javaScriptEnabled: false,
      storageState: await context.storageState(),
    });
    const view = await plain.newPage();
    await view.goto('/admin');
    await view.getByRole('button', { name: 'Start a backup' }).click();
    await view.waitForURL(/\/admin\/daemons\/\d+/);
    // It is loaded again by itself; here that is not waited for.
    expect(await view.locator('meta[http-equiv=refresh]').getAttribute('content')).toBe('5');
    const address = new URL(view.url()).pathname;
    await stack.finished(address.split('/').at(-1) ?? '');
    await view.goto(address);
    await view.locator('.state', { hasText: 'Completed' }).waitFor();
    expect(await view.locator('meta[http-equiv=refresh]').count()).toBe(0);
    await plain.close();
  });

  test('carries its session on to the dashboard', async () => {
    await page.goto('/admin');
    const asked = page.waitForResponse(/\/admin\/queues\/api\/queues/);
    await page.getByRole('link', { name: 'Bull dashboard' }).click();
    const answer = await asked;
    expect(answer.status()).toBe(200);
    const { queues } = (await answer.json()) as { queues: { name: string }[] };
    expect(queues.map(({ name }) => name)).toContain('daemons');
    await page.getByText('daemons').first().waitFor();
    expect(new URL(page.url()).pathname).toMatch(/^\/admin\/queues/);
    // It needs the session: without one, the same page leads to the login.
    const stranger = await browser.newContext({ baseURL: stack.url });
    const closed = await stranger.newPage();
    await closed.goto('/admin/queues');
    await closed.getByLabel('Password').waitFor();
    expect(new URL(closed.url()).pathname).toBe('/admin/login');
    await stranger.close();
    complaints.length = 0; // The dashboard's own.
  });

  describe('refuses', () => {
    /** Sends a form of the console without a browser. */
    async function post(
      path: string,
      fields: Record<string, string>,
      headers: Record<string, string>,
    ): Promise<{ status: number; body: string; headers: Headers }> {
      const response = await fetch(stack.url + path, {
        method: 'POST',
        headers,
        body: new URLSearchParams(fields),
        redirect: 'manual',
      });
      return { status: response.status, body: await response.text(), headers: response.headers };
    }

    async function openSession(): Promise<{ headers: Record<string, string>; form: string }> {
      const { headers } = await post('/admin/login', Stack.administrator, {});
      const cookie = /^[^;]+/.exec(headers.get('set-cookie') ?? '')?.[0] ?? '';
      const overview = await stack.call<string>('GET', '/admin', undefined, { cookie });
      return { headers: { cookie }, form: /name="form" value="([\w-]+)"/.exec(overview.body)?.[1] ?? '' };
    }

    const posts = () =>
      file.routes().filter(([method, url]) => method === 'POST' && /^\/admin(?!\/queues)/.test(url));

    test('requests without a session, forged forms and cross-site forms, in every route that changes something', async () => {
      const session = await openSession();
      const other = await openSession();
      expect(session.form).toMatch(/^[\w-]{43}$/);
      expect(other.form).not.toBe(session.form);
      const before = await total();
      const routes = posts().filter(([, url]) => url !== '/admin/login');
      expect(routes.length).toBeGreaterThanOrEqual(9);
      const without = { once: 'once', confirmation: '1' };
      const fields = { ...without, form: session.form };
      for (const [, url] of routes) {
        const path = pathOf(url, '1');
        const tries: [string, number, Record<string, string>, Record<string, string>][] = [
          ['no session', 401, fields, {}],
          ['no token', 403, without, session.headers],
          ['a made up token', 403, { ...fields, form: 'A'.repeat(43) }, session.headers],
          ["another session's token", 403, { ...fields, form: other.form }, session.headers],
          ['another origin', 403, fields, { ...session.headers, origin: 'https://elsewhere.example' }],
          ['no origin to speak of', 403, fields, { ...session.headers, origin: 'null' }],
          ['another site', 403, fields, { ...session.headers, 'sec-fetch-site': 'cross-site' }],
          ['a neighbour', 403, fields, { ...session.headers, 'sec-fetch-site': 'same-site' }],
        ];
        for (const [what, status, sent, headers] of tries)
          expect({ url, what, status: (await post(path, sent, headers)).status }).toEqual({
            url,
            what,
            status,
          });
      }
      expect(await total()).toBe(before);
      tried('a forged form, or one without a session, of each route', routes.length * 8, 'all 401 or 403');

      // The same form with a browser's headers is accepted, and sent twice it starts one job.
      for (const origin of [stack.url, stack.url])
        expect((await post('/admin/backup', fields, { ...session.headers, origin })).status).toBe(303);
      expect(await total()).toBe(before + 1);
      // Pages reload when it ends, even during the tests that follow.
      const { body } = await stack.call<{ daemons: DaemonStatus[] }>('GET', '/repo/v1/daemons?limit=1');
      await stack.finished(body.daemons[0]?.id ?? '');
    });

    test('forms of other sites that a browser sends, from another host and from a neighbouring port', async () => {
      await page.goto('/admin');
      const before = await total();
      const server = createServer((_request, response) =>
        response
          .setHeader('Content-Type', 'text/html')
          .end(
            `<form method="post" action="${stack.url}/admin/backup"><input name="once" value="x"><button>Go</button></form>`,
          ),
      ).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      // The same browser, with the session's cookie; the page is no page of the console, which its guard would say.
      const visited = await browser.newContext({ storageState: await context.storageState() });
      const foreign = await visited.newPage();
      const statuses: number[] = [];
      foreign.on('response', (response) => {
        if (response.request().method() === 'POST') statuses.push(response.status());
      });
      for (const host of ['localhost', '127.0.0.1']) {
        await foreign.goto(`http://${host}:${port}/`);
        await foreign.getByRole('button').click();
        await foreign.getByRole('alert').waitFor();
      }
      await visited.close();
      server.close();
      // From elsewhere the cookie does not even come along; a neighbour's form comes with it, and is refused.
      expect(statuses).toEqual([401, 403]);
      expect(await total()).toBe(before);
    });

    test('a login that another site sends, and the window that asks for a password', async () => {
      for (const headers of [{ origin: 'https://elsewhere.example' }, { 'sec-fetch-site': 'cross-site' }])
        expect(
          await post('/admin/login', Stack.administrator, headers as Record<string, string>),
        ).toMatchObject({
          status: 403,
          body: expect.stringContaining('was not sent by the console itself'),
        });
      for (const accept of ['text/html', '*/*']) {
        const { status, headers } = await fetch(`${stack.url}/admin/queues`, {
          headers: { accept },
          redirect: 'manual',
        });
        expect({ accept, status, asks: headers.get('www-authenticate') }).toEqual({
          accept,
          status: accept === '*/*' ? 401 : 303,
          asks: accept === '*/*' ? 'Bearer realm="snapshotd"' : null,
        });
      }
    });

    test('to lead anywhere else after the login', async () => {
      for (const next of [
        'https://elsewhere.example/',
        '//elsewhere.example/admin',
        '/\\elsewhere.example',
      ]) {
        const { status, headers } = await post('/admin/login', { ...Stack.administrator, next }, {});
        expect({ next, status, location: headers.get('location') }).toEqual({
          next,
          status: 303,
          location: '/admin',
        });
      }
    });

    test('users who are not administrators, with the reason', async () => {
      const ada = { email: 'ada@example.org', password: 'analytical engine' };
      await sql(
        stack.env['DATABASE_URL'] ?? '',
        'INSERT INTO snapshotd.account (email, display_name, password_hash) VALUES ($1, $2, $3)',
        [ada.email, 'Ada', await hash(ada.password)],
      );
      const { status, body, headers } = await post('/admin/login', ada, {});
      expect({ status, cookie: headers.get('set-cookie') }).toEqual({ status: 403, cookie: null });
      expect(body).toContain('The console is for administrators, and this account is none.');
    });

    test('API keys, and says so on a page', async () => {
      const { body: key } = await stack.call<{ key: string }>('POST', '/auth/v1/keys', {
        name: 'all',
        scope: 'everything',
      });
      const headers = { sessionToken: key.key, accept: 'text/html' };
      expect(await post('/admin/backup', { once: 'once', form: 'x' }, headers)).toMatchObject({
        status: 403,
        body: expect.stringMatching(/<p class="notice bad" role="alert">No API key may do this/),
      });
    });
  });

  test('is on record in the audit, by the names that the API has there', async () => {
    const outcomes = async (action: string) => {
      const { body } = await stack.call<{ events: { subject: string | null; outcome: string }[] }>(
        'GET',
        `/repo/v1/audit?action=${action}&limit=100`,
      );
      return body.events.map(({ subject, outcome }) => `${subject} ${outcome}`);
    };
    expect(await outcomes('login')).toEqual(expect.arrayContaining(['null 401', 'null 201']));
    expect(await outcomes('backup.start')).toContain('1 303');
    expect(await outcomes('daemon.terminate')).toContain('4 303');
    expect(await outcomes('schedule.set')).toEqual(expect.arrayContaining(['nightly 303', 'nightly 400']));
    expect(await outcomes('schedule.delete')).toContain('nightly 303');
    for (const [action, outcome] of [
      ['verify.start', /^2: BackupDaemonJob1-\d+\.zip 303$/],
      ['restore.start', /^3: BackupDaemonJob1-\d+\.zip 303$/],
      ['archive.delete', /^\S+\.zip 303$/],
    ] as const)
      expect(await outcomes(action)).toContainEqual(expect.stringMatching(outcome));
  });

  test('ends the session when somebody logs out', async () => {
    const [cookie] = await context.cookies();
    await page.goto('/admin');
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByText('You are logged out.').waitFor();
    expect(await context.cookies()).toEqual([]);
    const headers = { cookie: `${cookie?.name}=${cookie?.value}` };
    expect((await stack.call('GET', '/admin', undefined, headers)).status).toBe(401);
  });
});
