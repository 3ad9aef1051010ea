import axe from 'axe-core';
import type { Browser, BrowserContext } from 'playwright-core';

/**
 * The serious findings of axe in pages, in light and dark mode, and pages wider than the screen.
 * @param context whose session is used
 */
export async function pageFaults(
  browser: Browser,
  context: BrowserContext,
  baseURL: string,
  { pages, widths }: { pages: string[]; widths: number[] },
): Promise<object[]> {
  // The policy keeps out what tests put into a page, too.
  const looked = await browser.newContext({
    baseURL,
    bypassCSP: true,
    storageState: await context.storageState(),
  });
  const view = await looked.newPage();
  const faults: object[] = [];
  for (const path of pages) {
    await view.goto(path);
    await view.evaluate(axe.source);
    for (const width of widths) {
      await view.setViewportSize({ width, height: 800 });
      const overflow = await view.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
      if (overflow > 0) faults.push({ path, width, overflow });
    }
    for (const colorScheme of ['light', 'dark'] as const) {
      await view.emulateMedia({ colorScheme });
      // In the dark only the colours are others.
      const rules = colorScheme === 'light' ? '' : ", runOnly: ['color-contrast']";
      const { violations } = await view.evaluate<axe.AxeResults>(
        `axe.run({ resultTypes: ['violations'], preload: false${rules} })`,
      );
      faults.push(
        ...violations
          .filter(({ impact }) => impact === 'serious' || impact === 'critical')
          .map(({ id, nodes }) => ({ path, colorScheme, id, targets: nodes.map(({ target }) => target) })),
      );
    }
  }
  await looked.close();
  return faults;
}
