import { Controller, Get, Param, Post, Query, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { hasEnded } from '#common';
import { DAEMON_STATES, DAEMON_TYPES, type DaemonStatus } from '#contracts';
import { KeptDatabases } from '#queue';
import { PageAccess } from '../access/access.decorator.js';
import { Archives } from '../archives/archives.js';
import { daemonsQuery } from '../daemons/daemon-requests.js';
import { Daemons, shownTo } from '../daemons/daemons.js';
import { StatusStreams } from '../daemons/status-streams.js';
import { validated } from '../http/validation.js';
import { Repositories } from '../repositories/repositories.js';
import { filled } from './forms.js';
import { Pages, redirectTo } from './pages.js';
import { typeName } from './words.js';

/** The query of the list. Days are those of UTC. */
const jobsQuery = daemonsQuery.extend({
  search: z.string().max(200).optional(),
  from: z.iso.date('must be a day such as 2026-11-25').optional(),
  until: z.iso.date('must be a day such as 2026-11-25').optional(),
});

const DAY_MS = 24 * 60 * 60 * 1000;

/** @returns undefined if the query neither searches nor names days */
function matcherOf({
  search,
  from,
  until,
}: z.infer<typeof jobsQuery>): ((status: DaemonStatus) => boolean) | undefined {
  if (search === undefined && from === undefined && until === undefined) return undefined;
  const words = search?.toLowerCase();
  const [after, before] = [from && Date.parse(from), until && Date.parse(until) + DAY_MS];
  return ({ id, startedOn, startedBy, progresssMessage, errorMessage, backupUrl }) =>
    (!after || startedOn >= after) &&
    (!before || startedOn < before) &&
    (words === undefined ||
      id === words ||
      [startedBy, progresssMessage, errorMessage, backupUrl].some((shown) =>
        shown?.toLowerCase().includes(words),
      ));
}

/** The jobs: list, details, live progress and termination. */
@ApiExcludeController()
@Controller('admin/daemons')
export class DaemonPagesController {
  constructor(
    private readonly pages: Pages,
    private readonly daemons: Daemons,
    private readonly archives: Archives,
    private readonly repositories: Repositories,
    private readonly streams: StatusStreams,
    private readonly kept: KeptDatabases,
  ) {}

  @PageAccess()
  @Get()
  async list(
    @Query() query: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const filter = validated(jobsQuery, filled(query));
    const { search, from, until, ...rest } = filter;
    const { daemons, total } = await this.daemons.list({ ...rest, matches: matcherOf(filter) });
    const { type, status, repository, limit, offset } = filter;
    this.pages.show(request, reply, {
      view: 'daemons',
      title: 'Jobs',
      section: 'daemons',
      data: {
        daemons: daemons.map((daemon) => shownTo(request, daemon)),
        chosen: { type, status, search: search ?? '', from: from ?? '', until: until ?? '' },
        names: await this.repositories.names(),
        types: DAEMON_TYPES,
        states: DAEMON_STATES,
        pager: {
          path: '/admin/daemons',
          query: { type, status, repository, search, from, until },
          limit,
          offset,
          total,
        },
      },
    });
  }

  @PageAccess()
  @Get(':id')
  async show(
    @Param('id') id: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const daemon = shownTo(request, await this.daemons.status(id));
    const { type, backupUrl, safetyBackupUrl, keptDatabase } = daemon;
    this.pages.show(request, reply, {
      view: 'daemon',
      title: `${typeName(type)} ${id}`,
      section: 'daemons',
      data: {
        daemon,
        archive: this.archives.nameAt(backupUrl),
        safetyArchive: this.archives.nameAt(safetyBackupUrl ?? null),
        isKept: keptDatabase !== undefined && (await this.kept.find(keptDatabase)) !== undefined,
      },
    });
  }

  @PageAccess()
  @Get(':id/events')
  async follow(
    @Param('id') id: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    this.streams.send(request, reply, await this.daemons.status(id));
  }

  @PageAccess()
  @Get(':id/terminate')
  async askToTerminate(
    @Param('id') id: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const daemon = await this.daemons.status(id);
    this.pages.show(request, reply, {
      view: 'terminate',
      title: `Terminate ${typeName(daemon.type).toLowerCase()} ${id}`,
      section: 'daemons',
      data: { daemon },
    });
  }

  @PageAccess({ audit: 'daemon.terminate' })
  @Post(':id/terminate')
  async terminate(@Param('id') id: string, @Res() reply: FastifyReply): Promise<void> {
    const before = await this.daemons.status(id);
    await this.daemons.terminate(id);
    redirectTo(reply, `/admin/daemons/${id}`, hasEnded(before) ? 'daemon-had-ended' : 'daemon-terminated');
  }
}
