/** Under which Nest's providers ask for the settings. */
export const SETTINGS = Symbol('SETTINGS');
