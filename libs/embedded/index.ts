export * from './app-process.js';
export * from './ports.js';
export * from './postgres.js';
export * from './redis.js';
export * from './s3.js';
export * from './server-process.js';
export * from './servers.js';
export * from './throw-away-folder.js';
