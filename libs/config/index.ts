export * from './archive-settings.js';
export * from './process-environment.js';
export { postgresUrl, targetOf } from './postgres-url.js';
export * from './scope.js';
export * from './secret.js';
export * from './settings.js';
