/** A test holds the version against package.json. */
export const PRODUCT = { name: 'snapshotd', version: '0.1.0' } as const;
