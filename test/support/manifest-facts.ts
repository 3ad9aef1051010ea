import type { ManifestFacts } from '#archive';

/** The facts of a manifest without tables, for archives that a test makes by itself. */
export function manifestFacts(more: Partial<ManifestFacts> = {}): ManifestFacts {
  return {
    product: { name: 'snapshotd', version: '0.0.0' },
    daemonId: '7',
    takenAt: '2026-01-02T03:04:05.678Z',
    server: { version: '18.4', encoding: 'UTF8', database: 'd' },
    snapshot: { name: '00000003-1', walPosition: '0/1' },
    schemas: ['s'],
    tables: [],
    sequences: [],
    extensions: [],
    leftOut: [],
    ...more,
  };
}
