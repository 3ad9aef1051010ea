'use strict';

/**
 * Loaded before a program (`node --require`), moves the clock of its JavaScript ahead by 400 days.
 */
const AHEAD_MS = 400 * 24 * 60 * 60 * 1000;
const { Date } = globalThis;

globalThis.Date = class extends Date {
  constructor(...args) {
    if (args.length === 0) super(Date.now() + AHEAD_MS);
    else super(...args);
  }

  static now() {
    return Date.now() + AHEAD_MS;
  }
};
