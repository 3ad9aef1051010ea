import { RouteConfig } from '@nestjs/platform-fastify';
import type { RoutePolicy } from './policy.js';

/** Sets the policy of a controller's method. The API does not start if a route has none. */
export function Access(policy: RoutePolicy): MethodDecorator {
  return RouteConfig({ access: policy });
}

/** Sets the policy of a page of the console. API keys are for scripts, so none is enough. */
export function PageAccess(policy: Partial<RoutePolicy> = {}): MethodDecorator {
  return Access({ needs: 'session', page: true, ...policy });
}
