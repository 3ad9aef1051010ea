import { execFile, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { eventually } from '../support/eventually.js';
import { type Exposition, readExposition } from '../support/exposition.js';
import { Receiver } from '../support/receiver.js';
import { servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

const DOCS = join(process.cwd(), 'docs');
const RULES = join(DOCS, 'monitoring/alerts.yml');
const METRICS_TOKEN = 'metrics-token-of-this-test';

const promtool = (...args: string[]) => promisify(execFile)('promtool', args);

const hasPromtool = spawnSync('promtool', ['--version']).status === 0;
const describeOnPrometheus = hasPromtool ? describe : describe.skip;

type Series = { series: string; values: string };

/** The samples of scrapes as Prometheus would have stored them, each repeated for a number of minutes. */
function recorded(scrapes: [Exposition, number][]): Series[] {
  const series = new Map<string, string[]>();
  for (const [index, [{ samples }, minutes]] of scrapes.entries()) {
    const own = samples.filter(({ name }) =>
      /^snapshotd_(schedule|daemon|queue|database|backup|verification|workers)/.test(name),
    );
    for (const { name, labels, value } of own) {
      const all = { ...labels, job: 'snapshotd', instance: 'api' };
      const pairs = Object.entries(all).map(([label, text]) => `${label}=${JSON.stringify(text)}`);
      const key = `${name}{${pairs.join(',')}}`;
      const before = scrapes.slice(0, index).map(([, passed]) => `_x${passed}`);
      const values = series.get(key) ?? before;
      values.push(`${value}x${minutes - 1}`);
      series.set(key, values);
    }
  }
  return [...series].map(([key, values]) => ({ series: key, values: values.join(' ') }));
}

/** A scrape in which a metric is another; without a value it is missing. */
function otherwise(scrape: Exposition, metric: string, value?: number): Exposition {
  if (!scrape.samples.some(({ name }) => name === metric)) throw new Error(`${metric} is not in the scrape`);
  const samples = scrape.samples.flatMap((sample) => {
    if (sample.name !== metric) return [sample];
    return value === undefined ? [] : [{ ...sample, value }];
  });
  return { ...scrape, samples };
}

interface Recording {
  /** Scrapes, and for how many minutes each was all that was heard. */
  scrapes: [Exposition, number][];
  /** Whether the API answered, in promtool's notation. */
  up: string;
  /** When it is asked which alerts are firing. */
  minute: number;
}

/** Has Prometheus judge the rules that the documentation gives. @throws when others fire than these */
async function expectAlerts({ scrapes, up, minute }: Recording, firing: string[]): Promise<void> {
  const test = {
    interval: '1m',
    input_series: [{ series: 'up{job="snapshotd",instance="api"}', values: up }, ...recorded(scrapes)],
    promql_expr_test: [
      {
        expr: 'group by (alertname, schedule) (ALERTS{alertstate="firing"})',
        eval_time: `${minute}m`,
        exp_samples: firing.map((labels) => ({ labels, value: 1 })),
      },
    ],
  };
  const file = join(servers.folder, `alerts-${randomBytes(4).toString('hex')}.yml`);
  writeFileSync(file, stringify({ rule_files: [RULES], evaluation_interval: '1m', tests: [test] }));
  await promtool('test', 'rules', file);
}

describeOnPrometheus('by Prometheus', () => {
  test('an operator is alerted when the verified backups of a schedule stop, and when the API does', async () => {
    const receiver = await Receiver.start();
    receiver.answer = () => ({ status: 204 });
    const stack = await Stack.start({
      env: {
        S3_PREFIX: `alerts-${randomBytes(4).toString('hex')}/`,
        METRICS_TOKEN,
        // An archive without definitions is incomplete, which is an alert.
        BACKUP_DEFINITIONS: 'auto',
        DEADMAN_URL: `http://${receiver.host}/alive`,
      },
    });
    const scrape = async () => {
      const response = await fetch(`${stack.url}/metrics`, {
        headers: { Authorization: `Bearer ${METRICS_TOKEN}` },
      });
      return readExposition(await response.text());
    };
    const schedule = (pattern: string) =>
      stack.call('PUT', '/repo/v1/schedules/nightly', { pattern, then: 'verify' });
    const lastVerified = async () =>
      (await stack.call<{ lastVerifiedOn: number | null }>('GET', '/repo/v1/schedules/nightly')).body
        .lastVerifiedOn;
    try {
      await schedule('* * * * * *');
      await eventually(lastVerified);
      expect((await schedule('30 2 * * *')).status).toBe(200);
      await receiver.until(1, ({ path }) => path === '/alive');
      const healthy = await scrape();

      // The workers stop, and 27 hours pass: everything is moved into the past.
      await Promise.all(stack.workers.map((worker) => worker.stop()));
      const { length: signsOfLife } = receiver.received;
      await sql(
        stack.env['DATABASE_URL'] ?? '',
        `UPDATE snapshotd.schedule_archive
            SET completed_on = completed_on - interval '27 hours', verified_on = verified_on - interval '27 hours'`,
      );
      await schedule('* * * * * *');
      const late = await eventually(async () => {
        const scraped = await scrape();
        return scraped.value('snapshotd_queue_waiting_daemons') === 0 ? undefined : scraped;
      }, 100);
      // Silence is the dead-man's alarm.
      expect(receiver.received.length).toBe(signsOfLife);

      const hours: [Exposition, number][] = [
        [healthy, 60],
        [late, 60],
      ];
      await expectAlerts({ scrapes: hours, up: '1x119', minute: 59 }, []);
      const stopped = '{alertname="SnapshotdNoWorker"}';
      await expectAlerts({ scrapes: hours, up: '1x119', minute: 70 }, [
        '{alertname="SnapshotdNoVerifiedBackup",schedule="nightly"}',
        '{alertname="SnapshotdNoBackup",schedule="nightly"}',
        stopped,
      ]);
      // The first scrape of the second hour shows it at minute 60.
      await expectAlerts({ scrapes: hours, up: '1x119', minute: 61 }, []);
      await expectAlerts({ scrapes: hours, up: '1x119', minute: 62 }, [stopped]);
      for (const [metric, value, alert] of [
        ['snapshotd_queue_up', 0, 'SnapshotdQueueDown'],
        ['snapshotd_database_up', 0, 'SnapshotdDatabaseDown'],
        ['snapshotd_daemon_last_failed', 1, 'SnapshotdDaemonFailed'],
        ['snapshotd_queue_oldest_waiting_age_seconds', 2000, 'SnapshotdQueueWaits'],
        ['snapshotd_workers_missing', 1, 'SnapshotdWorkerMissing'],
      ] as const) {
        const scrapes: [Exposition, number][] = [
          [healthy, 60],
          [otherwise(healthy, metric, value), 60],
        ];
        await expectAlerts({ scrapes, up: '1x119', minute: 70 }, [`{alertname="${alert}"}`]);
      }
      const lost = otherwise(healthy, 'snapshotd_schedule_unconfirmed_loss_age_seconds', 60);
      await expectAlerts({ scrapes: [[lost, 60]], up: '1x59', minute: 1 }, [
        '{alertname="SnapshotdRowsLost",schedule="nightly"}',
      ]);
      const omits = otherwise(healthy, 'snapshotd_backup_omissions', 1);
      await expectAlerts({ scrapes: [[omits, 60]], up: '1x59', minute: 1 }, [
        '{alertname="SnapshotdBackupOmits"}',
      ]);
      const drill = { labels: { level: 'DRILL' }, name: 'snapshotd_verification_last_age_seconds' };
      for (const [value, firing] of [
        [34 * 86_400, []],
        [36 * 86_400, ['{alertname="SnapshotdNoDrill"}']],
      ] as const) {
        const drilled = { ...healthy, samples: [...healthy.samples, { ...drill, value }] };
        await expectAlerts({ scrapes: [[drilled, 60]], up: '1x59', minute: 50 }, [...firing]);
      }
      const older = { labels: { version: '0.0.9' }, name: 'snapshotd_workers_of_version', value: 1 };
      const mixed: Exposition = { ...healthy, samples: [...healthy.samples, older] };
      await expectAlerts({ scrapes: [[mixed, 60]], up: '1x59', minute: 14 }, []);
      await expectAlerts({ scrapes: [[mixed, 60]], up: '1x59', minute: 15 }, [
        '{alertname="SnapshotdMixedVersions"}',
      ]);
      const never = otherwise(healthy, 'snapshotd_schedule_last_verified_age_seconds');
      const days: [Exposition, number][] = [[never, 28 * 60]];
      await expectAlerts({ scrapes: days, up: '1x1680', minute: 25 * 60 }, []);
      await expectAlerts({ scrapes: days, up: '1x1680', minute: 27 * 60 }, [
        '{alertname="SnapshotdNeverVerified",schedule="nightly"}',
      ]);
      await expectAlerts({ scrapes: [[healthy, 60]], up: '1x59 0x59', minute: 70 }, [
        '{alertname="SnapshotdApiDown"}',
        '{alertname="SnapshotdApiMissing"}',
      ]);
    } finally {
      await stack.stop();
      receiver.stop();
    }
  });

  test('the rules and the documented scrape configuration are what Prometheus understands', async () => {
    expect((await promtool('check', 'rules', RULES)).stdout).toMatch(/SUCCESS: \d+ rules found/);
    const config = /```yaml\n(.*?)```/s.exec(readFileSync(join(DOCS, 'monitoring.md'), 'utf8'))?.[1] ?? '';
    const file = join(servers.folder, 'prometheus.yml');
    const rules = join(servers.folder, 'snapshotd-alerts.yml');
    writeFileSync(rules, readFileSync(RULES));
    // The token lies elsewhere on this machine.
    const token = join(servers.folder, 'metrics-token');
    writeFileSync(token, METRICS_TOKEN);
    writeFileSync(file, config.replace(/credentials_file: \S+/, `credentials_file: ${token}`));
    expect((await promtool('check', 'config', file)).stdout).toContain('SUCCESS');
  });
});
