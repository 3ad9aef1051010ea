import { applyDecorators } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import { ApiExtension } from '@nestjs/swagger';
import { POLICY_EXTENSION, type RoutePolicy } from './policy.js';

/** Sets the policy of a controller's method. The API does not start if a route has none. */
export function Access(policy: RoutePolicy): MethodDecorator {
  const { needs, everyAccount, audit } = policy;
  return applyDecorators(
    RouteConfig({ access: policy }),
    ApiExtension(POLICY_EXTENSION, { needs, everyAccount, audit }),
  );
}

/** Sets the policy of a page of the console. API keys are for scripts, so none is enough. */
export function PageAccess(policy: Partial<RoutePolicy> = {}): MethodDecorator {
  return Access({ needs: 'session', page: true, ...policy });
}
