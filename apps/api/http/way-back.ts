/** Adds a link to the console to a page that comes in a package. Its policy allows inline styles. */
export function withWayBack(html: string, consolePath: string): string {
  const style =
    'position:fixed;right:1rem;bottom:1rem;z-index:1000;padding:.5rem 1rem;border-radius:.5rem;background:#0b6b63;color:#fff;font:600 1rem system-ui,sans-serif;text-decoration:none';
  const link = `<a href="${consolePath}" style="${style}">Back to the console</a>`;
  return html.replace(/<body[^>]*>/, (body) => body + link);
}
