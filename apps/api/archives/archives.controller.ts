import { Controller, Delete, Get, HttpCode, Param, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import type { Archive } from '#contracts';
import { Documented } from '../docs/documented.js';
import { page } from '../http/page.js';
import { validated } from '../http/validated.js';
import * as docs from './archives.docs.js';
import { type ArchiveDetails, Archives } from './archives.js';

const listQuery = z.strictObject(page);
const nothing = z.strictObject({});

@Controller('repo/v1/backups')
export class ArchivesController {
  constructor(private readonly archives: Archives) {}

  @Documented(docs.listBackups, { query: listQuery })
  @Get()
  list(@Query() query: unknown): Promise<{ backups: Archive[]; total: number }> {
    const { limit, offset } = validated(listQuery, query);
    return this.archives.list(limit, offset);
  }

  @Documented(docs.showBackup, { query: nothing })
  @Get(':name')
  details(@Param('name') name: string, @Query() query: unknown): Promise<ArchiveDetails> {
    validated(nothing, query);
    return this.archives.details(name);
  }

  /** The store sends it itself: it does not pass through here, whatever its size. */
  @Documented(docs.downloadBackup, { query: nothing })
  @Get(':name/download')
  async download(
    @Param('name') name: string,
    @Query() query: unknown,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<void> {
    validated(nothing, query);
    const url = await this.archives.downloadUrl(name);
    void reply.header('Location', url).status(302);
  }

  @Documented(docs.deleteBackup, { query: nothing })
  @Delete(':name')
  @HttpCode(204)
  async delete(@Param('name') name: string, @Query() query: unknown): Promise<void> {
    validated(nothing, query);
    await this.archives.delete(name);
  }
}
