import type { FastifyInstance, FastifyServerOptions } from 'fastify';

declare module 'fastify' {
  interface FastifyRequest {
    /** BASE_PATH: what browsers must put before every path. Empty at the root. */
    basePath: string;
  }
}

/**
 * A proxy may pass BASE_PATH on or take it away: it is taken away here if it is there. So all that routes, rights and
 * the audit know are paths without it.
 */
export function withoutBasePath(basePath: string): Pick<FastifyServerOptions, 'rewriteUrl'> {
  if (basePath === '') return {};
  return {
    rewriteUrl: ({ url = '/' }) => {
      const rest = url.startsWith(basePath) ? url.slice(basePath.length) : undefined;
      if (rest === undefined || !/^([/?]|$)/.test(rest)) return url;
      return rest.startsWith('/') ? rest : `/${rest}`;
    },
  };
}

/** Puts BASE_PATH before where the answers of this server lead. */
export function leadBelowBasePath(fastify: FastifyInstance, basePath: string): void {
  fastify.decorateRequest('basePath', basePath);
  fastify.addHook('onSend', async (_request, reply) => {
    const location = reply.getHeader('Location');
    if (typeof location === 'string' && /^\/(?!\/)/.test(location))
      void reply.header('Location', basePath + location);
  });
}

/** Puts BASE_PATH before the addresses in a page's tags. Texts cannot look like one: their quotes are escaped. */
export function linksBelow(basePath: string, html: string): string {
  return basePath === ''
    ? html
    : html.replace(/( (?:href|action|src|data-events)=")(?=\/(?!\/))/g, `$1${basePath}`);
}
