import type { FastifyInstance, FastifyServerOptions } from 'fastify';

declare module 'fastify' {
  interface FastifyRequest {
    /** BASE_PATH, the prefix of every path in the browser; empty at the root. */
    basePath: string;
  }
}

/** Removes BASE_PATH from URLs, if the proxy has left it there. Routes and the audit know paths without it. */
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

/** Adds BASE_PATH to the header Location of answers. */
export function redirectBelowBasePath(fastify: FastifyInstance, basePath: string): void {
  fastify.decorateRequest('basePath', basePath);
  fastify.addHook('onSend', async (_request, reply) => {
    const location = reply.getHeader('Location');
    if (typeof location === 'string' && /^\/(?!\/)/.test(location))
      void reply.header('Location', basePath + location);
  });
}

/** Adds BASE_PATH to the links in a page's tags. Texts cannot imitate them: their quotes are escaped. */
export function linksBelow(basePath: string, html: string): string {
  return basePath === ''
    ? html
    : html.replace(/( (?:href|action|src|data-events)=")(?=\/(?!\/))/g, `$1${basePath}`);
}
