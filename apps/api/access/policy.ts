import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify';
import { KEY_SCOPES, type KeyScope } from '#contracts';

/** Who may call a route, and how the audit records the calls. Routes are for administrators, unless it says otherwise. */
export interface RoutePolicy {
  /** The least scope of an API key; `session` if no key is enough; `nothing` if the route is open to everybody. */
  needs: KeyScope | 'session' | 'nothing';
  /** The scope that some bodies need beyond `needs`, and the name of the thing that needs it. */
  needsFor?: (body: unknown) => { scope: KeyScope; what: string } | undefined;
  /** Lets in accounts that are no administrators. Such a route calls `beginAudited` itself, after its own checks. */
  everyAccount?: true;
  /** Also lets in METRICS_TOKEN. */
  metricsToken?: true;
  /** Lets in a browser's cookie and HTTP Basic. Browsers send both by themselves, so the API must not take them. */
  page?: true;
  /** The action in the audit. Calls of a route without one are not recorded. */
  audit?: string;
  /** The subject in the audit, if it does not follow from the path and the body. */
  subject?: (request: FastifyRequest) => string | undefined;
}

/** The property of an operation by which the OpenAPI document learns the policy. It is not part of the document. */
export const POLICY_EXTENSION = 'x-policy';

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: RoutePolicy;
  }
}

/** Sets the policy of all routes at a path and below it that are added from now on: plugins bring their own routes. */
export function setAccessBelow(fastify: FastifyInstance, path: string, policy: RoutePolicy): void {
  fastify.addHook('onRoute', (route) => {
    if (route.url === path || route.url.startsWith(`${path}/`))
      route.config = { ...route.config, access: policy };
  });
}

/** @returns undefined if there is no such route */
export function policyOf({ routeOptions }: FastifyRequest): RoutePolicy | undefined {
  return routeOptions.config.access;
}

/** Whether a scope includes another one. */
export function covers(scope: KeyScope, needed: RoutePolicy['needs']): boolean {
  if (needed === 'session') return false;
  return needed === 'nothing' || KEY_SCOPES.indexOf(scope) >= KEY_SCOPES.indexOf(needed);
}

/** Stops the start of a server that has a route without a policy. Call it before the first route is added. */
export function requirePolicies(fastify: FastifyInstance): void {
  const routes = new Map<string, RouteOptions>();
  fastify.addHook('onRoute', (route) => {
    for (const method of [route.method].flat()) routes.set(`${method} ${route.url}`, route);
  });
  fastify.addHook('onReady', (done) => {
    // Only now, because other hooks set policies too.
    const missing = [...routes]
      .filter(([, { config }]) => config?.access === undefined)
      .map(([name]) => name);
    if (missing.length === 0) return done();
    done(
      new Error(`Routes without an access policy: ${missing.join(', ')}. Add @Access(…) to their methods.`),
    );
  });
}
