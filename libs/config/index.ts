export * from './secret.js';
export * from './settings.js';
