import { Controller, Get, Param, Post, Query, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { hasEnded } from '#common';
import { DAEMON_STATES, DAEMON_TYPES, type DaemonStatus } from '#contracts';
import { Archives } from '../archives/archives.js';
import { mayStill } from '../auth/access.js';
import { Callers } from '../auth/callers.js';
import { daemonsQuery } from '../daemons/daemon-requests.js';
import { Daemons } from '../daemons/daemons.js';
import { sendEvents } from '../daemons/send-events.js';
import { shownTo } from '../daemons/shown-to.js';
import { StatusStreams } from '../daemons/status-streams.js';
import { validated } from '../http/validated.js';
import { filled } from './forms.js';
import { leadTo, Pages } from './pages.js';

/** The daemons: all that are remembered, and each by itself while it runs and after. */
@ApiExcludeController()
@Controller('admin/daemons')
export class DaemonPagesController {
  constructor(
    private readonly pages: Pages,
    private readonly daemons: Daemons,
    private readonly archives: Archives,
    private readonly streams: StatusStreams,
    private readonly callers: Callers,
  ) {}

  @Get()
  async list(
    @Query() query: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const asked = validated(daemonsQuery, filled(query));
    const { daemons, total } = await this.daemons.list(asked);
    const { type, status, limit, offset } = asked;
    this.pages.show(request, reply, {
      view: 'daemons',
      title: 'Daemons',
      section: 'daemons',
      data: {
        daemons: daemons.map((daemon) => shownTo(request, daemon)),
        chosen: { type, status },
        types: DAEMON_TYPES,
        states: DAEMON_STATES,
        pager: { path: '/admin/daemons', query: { type, status }, limit, offset, total },
      },
    });
  }

  @Get(':id')
  async show(
    @Param('id') id: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const daemon = shownTo(request, await this.daemons.status(id));
    const { type, backupUrl, safetyBackupUrl } = daemon;
    this.pages.show(request, reply, {
      view: 'daemon',
      title: `${type} ${id}`,
      section: 'daemons',
      data: {
        daemon,
        archive: this.archives.nameAt(backupUrl),
        safetyArchive: this.archives.nameAt(safetyBackupUrl ?? null),
      },
    });
  }

  @Get(':id/events')
  async follow(
    @Param('id') id: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const status = await this.daemons.status(id);
    const listener = {
      mayListen: () => mayStill(request, this.callers),
      show: (each: DaemonStatus) => shownTo(request, each),
    };
    sendEvents(reply, this.streams.open(status, listener));
  }

  @Get(':id/terminate')
  async askToTerminate(
    @Param('id') id: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    this.pages.show(request, reply, {
      view: 'terminate',
      title: `Terminate daemon ${id}`,
      section: 'daemons',
      data: { daemon: await this.daemons.status(id) },
    });
  }

  @Post(':id/terminate')
  async terminate(@Param('id') id: string, @Res() reply: FastifyReply): Promise<void> {
    const before = await this.daemons.status(id);
    await this.daemons.terminate(id);
    leadTo(reply, `/admin/daemons/${id}`, hasEnded(before) ? 'daemon-had-ended' : 'daemon-terminated');
  }
}
