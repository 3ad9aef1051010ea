/** Every route that answers without a session. All others need an administrator's. */
export const OPEN_ROUTES: ReadonlySet<string> = new Set([
  'POST /auth/v1/session',
  'PUT /auth/v1/session',
  'DELETE /auth/v1/session',
  'GET /health/live',
  'GET /health/ready',
]);
