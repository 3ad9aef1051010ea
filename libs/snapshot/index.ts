export * from './backup.js';
export * from './journal.js';
