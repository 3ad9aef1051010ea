/** One line of a scrape. */
export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** A parsed scrape. */
export interface Exposition {
  /** The types of the metrics, by name. */
  metrics: Map<string, string>;
  samples: Sample[];
  /** The value of the sample with exactly these labels. */
  value: (name: string, labels?: Record<string, string>) => number | undefined;
}

const HELP = /^# HELP ([a-zA-Z_:][\w:]*) .+$/;
const TYPE = /^# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram|summary|untyped)$/;
const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([-+]?(?:\d[\d.]*(?:e[-+]?\d+)?|Inf)|Nan)$/i;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/g;

/**
 * Parses Prometheus's text format, as strictly as Prometheus.
 * @throws Error that quotes an invalid line or names a metric without a type or with two
 */
export function readExposition(text: string): Exposition {
  if (!text.endsWith('\n')) throw new Error('The last line does not end');
  const metrics = new Map<string, string>();
  const samples: Sample[] = [];
  const seen = new Set<string>();
  for (const line of text.split('\n')) {
    if (line === '' || HELP.test(line)) continue;
    const [, metric, type] = TYPE.exec(line) ?? [];
    if (metric !== undefined && type !== undefined) {
      if (metrics.has(metric)) throw new Error(`${metric} has two types`);
      metrics.set(metric, type);
      continue;
    }
    const [, name, labelText = '', number] = SAMPLE.exec(line) ?? [];
    if (name === undefined || labelText.replace(LABEL, '') !== '') throw new Error(`No sample: ${line}`);
    if (!metrics.has(name) && !metrics.has(name.replace(/_(bucket|sum|count)$/, '')))
      throw new Error(`No type: ${line}`);
    const labels = Object.fromEntries(
      [...labelText.matchAll(LABEL)].map(([, label = '', value = '']) => [label, value]),
    );
    const series = keyOf(name, labels);
    if (seen.has(series)) throw new Error(`Twice: ${line}`);
    seen.add(series);
    samples.push({ name, labels, value: Number(number) });
  }
  const values = new Map(samples.map(({ name, labels, value }) => [keyOf(name, labels), value]));
  return { metrics, samples, value: (name, labels = {}) => values.get(keyOf(name, labels)) };
}

function keyOf(name: string, labels: Record<string, string>): string {
  return JSON.stringify([name, Object.entries(labels).sort()]);
}
