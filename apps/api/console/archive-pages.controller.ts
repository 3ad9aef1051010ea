import { Body, Controller, Get, Param, Post, Query, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { Archives } from '../archives/archives.js';
import { restoreRequest, verifyRequest } from '../daemons/daemon-requests.js';
import { Daemons } from '../daemons/daemons.js';
import { page } from '../http/page.js';
import { validated } from '../http/validated.js';
import { asked, expectConfirmed, filled, text, ticked } from './forms.js';
import { type Fault, faultOf, leadTo, Pages } from './pages.js';

const listQuery = z.strictObject(page);

/** The archives, and what is done with one. */
@ApiExcludeController()
@Controller('admin/archives')
export class ArchivePagesController {
  constructor(
    private readonly pages: Pages,
    private readonly archives: Archives,
    private readonly daemons: Daemons,
  ) {}

  @Get()
  async list(
    @Query() query: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { limit, offset } = validated(listQuery, filled(query));
    const { backups, total } = await this.archives.list(limit, offset);
    this.pages.show(request, reply, {
      view: 'archives',
      title: 'Archives',
      section: 'archives',
      data: { backups, pager: { path: '/admin/archives', query: {}, limit, offset, total } },
    });
  }

  @Get(':name')
  async show(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    this.pages.show(request, reply, {
      view: 'archive',
      title: name,
      section: 'archives',
      data: { archive: await this.archives.details(name) },
    });
  }

  @Post(':name/verify')
  async verify(
    @Param('name') name: string,
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { url } = await this.archives.details(name);
    const { id } = await this.daemons.startVerify(
      asked(request, body),
      validated(verifyRequest, {
        url,
        restoreDrill: ticked(body, 'restoreDrill'),
        allowExtraTables: ticked(body, 'allowExtraTables'),
        fireEventTriggers: ticked(body, 'fireEventTriggers'),
        otherDatabase: ticked(body, 'otherDatabase'),
      }),
    );
    request.made = id;
    leadTo(reply, `/admin/daemons/${id}`, 'verification-started');
  }

  @Get(':name/restore')
  askToRestore(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.restoreForm(request, reply, name, {
      backupFirst: true,
      keepViolations: false,
      allowExtraTables: false,
      fireEventTriggers: false,
      otherDatabase: false,
      tables: '',
    });
  }

  @Post(':name/restore')
  async restore(
    @Param('name') name: string,
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const given = {
      backupFirst: ticked(body, 'backupFirst'),
      keepViolations: ticked(body, 'keepViolations'),
      allowExtraTables: ticked(body, 'allowExtraTables'),
      fireEventTriggers: ticked(body, 'fireEventTriggers'),
      otherDatabase: ticked(body, 'otherDatabase'),
      tables: text(body, 'tables'),
    };
    try {
      expectConfirmed(body, name);
      const { url } = await this.archives.details(name);
      const tables = lines(given.tables);
      const { id } = await this.daemons.startRestore(
        asked(request, body),
        validated(restoreRequest, { ...given, url, tables: tables.length > 0 ? tables : undefined }),
      );
      request.made = id;
      leadTo(reply, `/admin/daemons/${id}`, 'restore-started');
    } catch (error) {
      return this.restoreForm(request, reply, name, given, faultOf(error));
    }
  }

  /** The store sends it itself, as it does for the API. */
  @Get(':name/download')
  async download(@Param('name') name: string, @Res() reply: FastifyReply): Promise<void> {
    void reply.redirect(await this.archives.downloadUrl(name), 302);
  }

  @Get(':name/delete')
  askToDelete(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.deleteForm(request, reply, name);
  }

  @Post(':name/delete')
  async delete(
    @Param('name') name: string,
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    try {
      expectConfirmed(body, name);
      await this.archives.delete(name);
      leadTo(reply, '/admin/archives', 'archive-deleted');
    } catch (error) {
      return this.deleteForm(request, reply, name, faultOf(error));
    }
  }

  private async restoreForm(
    request: FastifyRequest,
    reply: FastifyReply,
    name: string,
    given: object,
    fault?: Fault,
  ): Promise<void> {
    this.pages.show(request, reply, {
      view: 'restore',
      title: `Restore ${name}`,
      section: 'archives',
      data: { archive: await this.archives.details(name), given },
      fault,
    });
  }

  private async deleteForm(
    request: FastifyRequest,
    reply: FastifyReply,
    name: string,
    fault?: Fault,
  ): Promise<void> {
    this.pages.show(request, reply, {
      view: 'delete-archive',
      title: `Delete ${name}`,
      section: 'archives',
      data: { archive: await this.archives.details(name) },
      fault,
    });
  }
}

function lines(text: string): string[] {
  return text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
}
