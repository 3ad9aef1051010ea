import { DASHBOARD_PATH } from '../dashboard/dashboard-path.js';

export const CONSOLE_PATH = '/admin';
export const LOGIN_PATH = '/admin/login';

/** Whether a path or a route is the console's. The dashboard lies below it, and is another's. */
export function isConsole(url: string): boolean {
  return isAt(url, CONSOLE_PATH) && !isAt(url, DASHBOARD_PATH);
}

function isAt(url: string, path: string): boolean {
  return url === path || url.startsWith(`${path}/`) || url.startsWith(`${path}?`);
}
