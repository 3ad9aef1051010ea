import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { ScheduleArchive } from '#database';

/** The archives of schedules that have lost rows. Until somebody confirms the loss, their schedule deletes nothing. */
@Injectable()
export class LostRows {
  constructor(@InjectRepository(ScheduleArchive) private readonly archives: Repository<ScheduleArchive>) {}

  /** Since when schedules have unconfirmed losses, by name. */
  async unconfirmed(): Promise<Map<string, Date>> {
    const rows = await this.archives.query<{ schedule: string; since: Date }[]>(
      `SELECT schedule, min(least(completed_on, now())) AS since FROM snapshotd.schedule_archive
        WHERE shrunk AND confirmed_on IS NULL GROUP BY schedule`,
    );
    return new Map(rows.map(({ schedule, since }) => [schedule, since]));
  }

  /** Confirms the losses of a schedule that are recorded now. */
  async confirm(schedule: string): Promise<void> {
    await this.archives.query(
      `UPDATE snapshotd.schedule_archive SET confirmed_on = now()
        WHERE schedule = $1 AND shrunk AND confirmed_on IS NULL`,
      [schedule],
    );
  }

  /** The key of a repository's newest archive with a confirmed loss: later backups are compared with it. */
  async newestConfirmedKey(repository: string): Promise<string | undefined> {
    const rows = await this.archives.query<{ key: string }[]>(
      `SELECT key FROM snapshotd.schedule_archive
        WHERE confirmed_on IS NOT NULL AND repository = $1 ORDER BY completed_on DESC LIMIT 1`,
      [repository],
    );
    return rows[0]?.key;
  }
}
