import type { Browser, BrowserContext, Page } from 'playwright-core';
import type { Archive, RepositoryView, ScheduleView } from '#contracts';
import { launchChromium } from '../../tools/chromium.js';
import { describeInBrowser } from '../support/browser.js';
import { pageFaults } from '../support/page-faults.js';
import { newDatabase, servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

/** A phone, a tablet and a desktop. */
const WIDTHS = [390, 768, 1440];
const TABLE = `CREATE SCHEMA shop; CREATE TABLE shop.orders (id int PRIMARY KEY, note text);
  INSERT INTO shop.orders SELECT i, 'order ' || i FROM generate_series(1, 100) i`;

describeInBrowser('the console of several repositories', () => {
  let stack: Stack;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let shop: string;
  let staging: string;

  beforeAll(async () => {
    [stack, browser, shop, staging] = await Promise.all([
      Stack.start({ queueUrl: servers.redis, env: { S3_PREFIX: `repositories-${Date.now()}/` } }),
      launchChromium(),
      newDatabase(),
      newDatabase(),
    ]);
    await sql(shop, TABLE);
    await sql(staging, TABLE.replace('100', '3'));
    context = await browser.newContext({ baseURL: stack.url, timezoneId: 'Asia/Tokyo' });
    context.setDefaultTimeout(8_000);
    page = await context.newPage();
    await page.goto('/');
    await page.getByLabel('Email').fill(Stack.administrator.email);
    await page.getByLabel('Password').fill(Stack.administrator.password);
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/admin$/);
  });
  afterAll(async () => {
    await browser?.close();
    await stack?.stop();
  });

  const text = (selector = 'main') => page.locator(selector).innerText();
  const press = (name: string) => page.getByRole('button', { name, exact: true }).click();
  async function completed(button: string): Promise<void> {
    await press(button);
    await page.waitForURL(/\/admin\/daemons\/\d+/);
    await page.locator('.state.completed').waitFor();
  }

  test('adds a repository, changes it, and never shows its URL', async () => {
    await page.goto('/admin/repositories');
    await page.getByRole('link', { name: 'New repository' }).click();
    await page.locator('[name=name]').fill('shop');
    await page.getByLabel('URL of the database').fill('mysql://shop');
    await press('Add the repository');
    expect(await text('#databaseUrl-fault')).toMatch(/postgres/);
    expect(await page.locator('[name=name]').inputValue()).toBe('shop');
    await page.getByLabel('URL of the database').fill(shop);
    await press('Add the repository');
    await page.getByText('The repository is saved.').waitFor();
    const { hostname, port, pathname, username, password } = new URL(shop);
    expect(await text('dl')).toContain(`${pathname.slice(1)} at ${hostname}:${port} as ${username}`);
    await page.getByText('More settings').click();
    await page.getByLabel('Exclude these tables').fill('shop.cache_*');
    await press('Save');
    await page.getByText('The repository is saved.').waitFor();
    expect(await page.content()).not.toContain(`:${password}@`);
    expect(await stack.ask<RepositoryView>('GET', '/repo/v1/repositories/shop')).toMatchObject({
      excludeTables: ['shop.cache_*'],
      target: { database: pathname.slice(1) },
    });
    await stack.ask('PUT', '/repo/v1/repositories/staging', { url: staging });
  });

  test('backs a chosen repository up, and filters every list by it', async () => {
    await page.goto('/admin/repositories');
    await completed('Back up shop');
    await page.goto('/admin');
    await page.getByLabel('Repository').selectOption('shop');
    await press('Show');
    await page.getByRole('button', { name: 'Start a backup of shop' }).waitFor();
    for (const list of ['Archives', 'Jobs']) {
      await page.getByRole('navigation', { name: 'Console' }).getByRole('link', { name: list }).click();
      expect(await page.getByLabel('Repository').inputValue()).toBe('shop');
      expect(await page.locator('tbody tr, article').count()).toBe(1);
      await page.getByLabel('Repository').selectOption('staging');
      await press('Show');
      expect(await page.locator('tbody tr, article').count()).toBe(0);
      await page.goBack();
    }
  });

  test('shows how each repository stands, searches jobs, and leads on from a backup', async () => {
    await page.goto('/admin');
    const rows = page.locator('[aria-labelledby=repositories] tbody tr');
    expect(await rows.filter({ hasText: 'shop' }).innerText()).toMatch(
      /No archive is proven\s+just now\s+–\s+[\d.]+ kB\s+[\d.]+ kB in 1 archive\s+–\s+Back up\s+shop/,
    );
    expect(await text('[aria-labelledby=repositories] summary')).toMatch(
      /^Storage: ([\d.]+ kB), in 30 days about \1$/,
    );
    await page.goto('/admin/daemons?search=nothing-like-this');
    expect(await text()).toContain('No such jobs.');
    await page.getByLabel('Search').fill(Stack.administrator.email);
    await page.getByLabel('From').fill('2020-01-01');
    await press('Show');
    await page.locator('article a').first().click();
    await page.getByRole('link', { name: 'Restore …' }).waitFor();
    await page.getByRole('link', { name: 'Verify …' }).click();
    expect(await text('h1')).toMatch(/^shop, 20\d\d-\d\d-\d\d \d\d:\d\d UTC$/);
  });

  test('restores an archive into another repository, and into a new database', async () => {
    const { backups } = await stack.ask<{ backups: Archive[] }>('GET', '/repo/v1/backups?repository=shop');
    const name = backups[0]?.name ?? '';
    const form = async () => {
      await page.goto(`/admin/archives/${encodeURIComponent(name)}/restore`);
      await page.getByLabel('Repository', { exact: true }).selectOption('staging');
      await page.getByLabel('Accept an archive of another database').check();
    };
    await form();
    await press('Show the plan');
    await page.getByLabel('To confirm').fill(new URL(staging).pathname.slice(1));
    await completed('Restore');
    expect(await sql(staging, 'SELECT * FROM shop.orders')).toHaveLength(100);
    await form();
    await page.getByLabel('Build a new database').check();
    expect(await page.getByLabel('Only these tables').isVisible()).toBe(false);
    await press('Show the plan');
    expect(await text('#intoDatabase-fault')).not.toBe('');
  });

  test('previews the runs of a schedule of a repository, in its zone and in UTC', async () => {
    await page.goto('/admin/new-schedule?repository=shop');
    await page.locator('[name=name]').fill('nightly');
    await page.getByLabel('Time zone').selectOption('Europe/Berlin');
    await page.getByLabel('Cron pattern').fill('30 12 1 1 *');
    await press('Show the runs of these values');
    const runs = await text('.preview li:last-child');
    expect(runs).toMatch(
      /^20\d\d-01-01 12:30 Europe\/Berlin 20\d\d-01-01 11:30 UTC \(20\d\d-01-01 20:30 GMT\+9\)$/,
    );
    await press('Create the schedule');
    await page.getByText('The schedule is saved.').waitFor();
    expect(await stack.ask<ScheduleView>('GET', '/repo/v1/schedules/nightly')).toMatchObject({
      repository: 'shop',
      timeZone: 'Europe/Berlin',
    });
    await page.goto('/admin/repositories/shop/delete');
    await press('Delete the repository');
    expect(await text('[role=alert]')).toBe('The schedules nightly use it. Delete them first.');
  });

  test('deletes a repository, and adopts its archives again', async () => {
    await stack.ask('DELETE', '/repo/v1/schedules/nightly');
    await page.goto('/admin/repositories/shop/delete');
    await press('Delete the repository');
    await page.getByText('The repository is deleted.').waitFor();
    await page.goto('/admin/new-repository');
    await page.locator('[name=name]').fill('shop');
    await page.getByLabel('URL of the database').fill(shop);
    await press('Add the repository');
    expect(await text('[role=alert]')).toMatch(/holds archives already/);
    await page.getByLabel('URL of the database').fill(shop);
    await page.getByLabel('Adopt').check();
    await press('Add the repository');
    await page.getByText('The repository is saved.').waitFor();
  });

  test('leads back from pages that do not exist, from the API and from the dashboard', async () => {
    await page.goto('/admin/nowhere');
    await page.getByRole('navigation', { name: 'Console' }).getByRole('link', { name: 'Jobs' }).waitFor();
    for (const path of ['/docs', '/admin/queues']) {
      await page.goto(path);
      const back = page.getByRole('link', { name: 'Back to the console' });
      expect(await back.getAttribute('href')).toBe('/admin');
    }
  });

  test('fits a phone, a tablet and a desktop, and axe finds nothing serious', async () => {
    const pages = [
      '/admin/repositories',
      '/admin/repositories/shop',
      '/admin/repositories/shop/delete',
      '/admin/new-repository',
      '/admin?repository=shop',
      '/admin/archives?repository=shop',
    ];
    expect(await pageFaults(browser, context, stack.url, { pages, widths: WIDTHS })).toEqual([]);
  });
});
