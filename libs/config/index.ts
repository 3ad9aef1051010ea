export * from './home.js';
export * from './program-environment.js';
export * from './secret.js';
export * from './settings.js';
