import { Controller, Delete, Get, HttpCode, Param, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import type { Archive } from '#contracts';
import { Access } from '../access/access.decorator.js';
import { Documented } from '../docs/documented.js';
import { nothing, validated } from '../http/validation.js';
import * as docs from './archives.docs.js';
import { Archives } from './archives.js';

@Controller('repo/v1/backups')
export class ArchivesController {
  constructor(private readonly archives: Archives) {}

  @Access({ needs: 'read' })
  @Documented(docs.listBackups, { query: docs.listQuery })
  @Get()
  list(@Query() query: unknown): Promise<{ backups: Archive[]; total: number }> {
    const { limit, offset, repository } = validated(docs.listQuery, query);
    return this.archives.list(limit, offset, repository);
  }

  @Access({ needs: 'read' })
  @Documented(docs.showBackup, { query: nothing })
  @Get(':name')
  details(@Param('name') name: string, @Query() query: unknown): Promise<docs.ArchiveDetails> {
    validated(nothing, query);
    return this.archives.details(name);
  }

  /**
   * Redirects to the object store, so that the archive's bytes do not pass through the API. Needs everything, because an
   * archive contains all rows of the repository.
   */
  @Access({ needs: 'everything', audit: 'archive.download' })
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

  @Access({ needs: 'everything', audit: 'archive.delete' })
  @Documented(docs.deleteBackup, { query: nothing })
  @Delete(':name')
  @HttpCode(204)
  async delete(@Param('name') name: string, @Query() query: unknown): Promise<void> {
    validated(nothing, query);
    await this.archives.delete(name);
  }
}
