import { DOCS_PATH, DOCUMENT_PATH } from '../docs/docs-paths.js';
import { CONSOLE_PATH } from './console-path.js';

const PAGES = [CONSOLE_PATH, DOCS_PATH, DOCUMENT_PATH];

/** The page that somebody wanted when the login came in between: one of this server, whatever the address says. */
export function pageAfterLogin(wanted: unknown): string {
  const here = 'http://here.invalid';
  if (typeof wanted !== 'string' || !URL.canParse(wanted, here)) return CONSOLE_PATH;
  const { origin, pathname, search } = new URL(wanted, here);
  const isPage = PAGES.some((page) => pathname === page || pathname.startsWith(`${page}/`));
  return origin === here && isPage ? pathname + search : CONSOLE_PATH;
}
