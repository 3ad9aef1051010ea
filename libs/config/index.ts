export * from './process-environment.js';
export * from './scope.js';
export * from './secret.js';
export * from './settings.js';
