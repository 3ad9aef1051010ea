import { mkdirSync } from 'node:fs';
import { resolve } from 'node:path';
import type { BrowserContextOptions, Page } from 'playwright-core';
import { launchChromium } from './chromium.js';
import { type Product, startProduct } from './pictures/product.js';

const FOLDER = resolve('docs/pictures');
const DESKTOP = { width: 1200, height: 940 };
const PHONE = { width: 390, height: 1040 };
const say = (text: string) => process.stdout.write(`${text}\n`);

/** Takes the README's pictures of the console. */
async function takePictures(): Promise<void> {
  say('Starting the product and making two weeks of backups ...');
  const product = await startProduct();
  const browser = await launchChromium();
  try {
    mkdirSync(FOLDER, { recursive: true });
    const open = async (options: BrowserContextOptions): Promise<Page> => {
      const page = await (await browser.newContext({ baseURL: product.url, ...options })).newPage();
      await login(page, product);
      return page;
    };
    const desktop = await open({ viewport: DESKTOP });
    const phone = await open({ viewport: PHONE, isMobile: true, hasTouch: true });

    say('Taking a picture of a restore ...');
    await phone.goto('/admin/archives');
    await phone.locator('tbody th a').first().click();
    await phone.getByRole('link', { name: 'Restore' }).click();
    await phone.getByRole('button', { name: 'Show the plan' }).click();
    await phone.getByText('To confirm').waitFor();
    await take(phone, 'phone-restore-dark', 'dark');

    say('Taking pictures of a running backup ...');
    await product.grow(500_000);
    const started = await product.client.startBackup();
    for (const page of [desktop, phone]) {
      await page.goto('/admin');
      await page.getByText(/entities\/s$/).waitFor();
    }
    await take(desktop, 'overview');
    await take(desktop, 'overview-dark', 'dark');
    await take(phone, 'phone-overview');
    await product.client.finished(started.id);
    say(`The pictures are in ${FOLDER}.`);
  } finally {
    await browser.close();
    await product.stop();
  }
}

async function login(page: Page, { administrator }: Product): Promise<void> {
  await page.goto('/admin/login');
  await page.getByLabel('Email').fill(administrator.email);
  await page.getByLabel('Password').fill(administrator.password);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
}

async function take(page: Page, name: string, colorScheme: 'light' | 'dark' = 'light'): Promise<void> {
  await page.emulateMedia({ colorScheme });
  await page.screenshot({ path: resolve(FOLDER, `${name}.png`) });
}

takePictures().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 1;
});
