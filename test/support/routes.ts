import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { servers } from './servers.js';

/** The routes that answer without a session. Named here once more, so that no slip in the policies opens another one. */
export const OPEN_ROUTES: ReadonlySet<string> = new Set([
  'POST /auth/v1/session',
  'PUT /auth/v1/session',
  'DELETE /auth/v1/session',
  'GET /admin/login',
  'POST /admin/login',
  'GET /admin/assets/console.css',
  'GET /admin/assets/console.js',
  'GET /admin/assets/icon.svg',
  'GET /health/live',
  'GET /health/ready',
]);

/** Whether a route answers without a session. HEAD is as GET. */
export function isOpen(method: string, url: string): boolean {
  return OPEN_ROUTES.has(`${method === 'HEAD' ? 'GET' : method} ${url}`);
}

/** Settings that make an API write its routes to a file, and a function that reads them. */
export function routesFile(): { env: Record<string, string>; routes(): [method: string, url: string][] } {
  const file = join(servers.folder, `routes-${randomBytes(4).toString('hex')}`);
  return {
    env: { NODE_OPTIONS: `--require ${join(__dirname, 'list-routes.cjs')}`, ROUTES_FILE: file },
    routes: () =>
      [...new Set(readFileSync(file, 'utf8').trim().split('\n'))].map((line) => {
        const [method = '', url = ''] = line.split(' ');
        return [method, url];
      }),
  };
}

/** A path of a route. */
export function pathOf(url: string, parameter = 'daemons'): string {
  return url.replace(/:\w+/g, parameter).replace('*', parameter);
}
