/** Every route that answers without a session. All others have a line in route-policies.ts. */
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

/** HEAD is as GET. */
export function isOpen(method: string, url: string): boolean {
  return OPEN_ROUTES.has(`${method === 'HEAD' ? 'GET' : method} ${url}`);
}
