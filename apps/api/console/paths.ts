export const CONSOLE_PATH = '/admin';
export const LOGIN_PATH = '/admin/login';
/** The dashboard lies below the console, but is no part of it. */
export const DASHBOARD_PATH = '/admin/queues';
/** The page of the API's documentation, and below it its scripts and styles. */
export const DOCS_PATH = '/docs';
/** The OpenAPI document, for programs. */
export const DOCUMENT_PATH = '/docs-json';

/** Whether a path or a route belongs to the console. */
export function isConsole(url: string): boolean {
  return isAt(url, CONSOLE_PATH) && !isAt(url, DASHBOARD_PATH);
}

/** The page to show after a login: the one that the browser wanted, if it is a page of this server. */
export function pageAfterLogin(wanted: unknown): string {
  const here = 'http://here.invalid';
  if (typeof wanted !== 'string' || !URL.canParse(wanted, here)) return CONSOLE_PATH;
  const { origin, pathname, search } = new URL(wanted, here);
  const isPage = [CONSOLE_PATH, DOCS_PATH, DOCUMENT_PATH].some((page) => isAt(pathname, page));
  return origin === here && isPage ? pathname + search : CONSOLE_PATH;
}

function isAt(url: string, path: string): boolean {
  return url === path || url.startsWith(`${path}/`) || url.startsWith(`${path}?`);
}
