import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { DaemonStatus } from '#contracts';
import { callerOf, mayStill } from '../auth/access.js';
import { Callers } from '../auth/callers.js';
import { Documented } from '../docs/documented.js';
import { validated } from '../http/validated.js';
import { daemonsQuery, restoreRequest, verifyRequest } from './daemon-requests.js';
import * as docs from './daemons.docs.js';
import { Daemons, type Start } from './daemons.js';
import { idempotencyKey } from './idempotency-key.js';
import { sendEvents } from './send-events.js';
import { StatusStreams } from './status-streams.js';

const nothing = z.strictObject({});

@Controller('repo/v1')
export class DaemonsController {
  constructor(
    private readonly daemons: Daemons,
    private readonly streams: StatusStreams,
    private readonly callers: Callers,
  ) {}

  @Documented(docs.startBackup, { body: nothing })
  @Post('startBackupDaemon')
  startBackup(@Body() body: unknown, @Req() request: FastifyRequest): Promise<DaemonStatus> {
    validated(nothing, body);
    return this.daemons.startBackup(asked(request));
  }

  @Documented(docs.startRestore, { body: restoreRequest })
  @Post('startRestoreDaemon')
  startRestore(@Body() body: unknown, @Req() request: FastifyRequest): Promise<DaemonStatus> {
    return this.daemons.startRestore(asked(request), validated(restoreRequest, body));
  }

  @Documented(docs.startVerify, { body: verifyRequest })
  @Post('startVerifyDaemon')
  startVerify(@Body() body: unknown, @Req() request: FastifyRequest): Promise<DaemonStatus> {
    return this.daemons.startVerify(asked(request), validated(verifyRequest, body));
  }

  @Documented(docs.listDaemons, { query: daemonsQuery })
  @Get('daemons')
  list(@Query() query: unknown): Promise<{ daemons: DaemonStatus[]; total: number }> {
    return this.daemons.list(validated(daemonsQuery, query));
  }

  @Documented(docs.showDaemon)
  @Get('daemonStatus/:id')
  status(@Param('id') id: string): Promise<DaemonStatus> {
    return this.daemons.status(id);
  }

  @Documented(docs.followDaemon)
  @Get('daemonStatus/:id/events')
  async follow(
    @Param('id') id: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const status = await this.daemons.status(id);
    sendEvents(
      reply,
      this.streams.open(status, () => mayStill(request, this.callers)),
    );
  }

  @Documented(docs.terminateDaemon)
  @Delete('terminateDaemon/:id')
  @HttpCode(204)
  terminate(@Param('id') id: string): Promise<void> {
    return this.daemons.terminate(id);
  }
}

/** With an Idempotency-Key the same call may be sent again and again, and there is one daemon. */
function asked(request: FastifyRequest): Start {
  return { startedBy: callerOf(request).email, key: idempotencyKey(request) };
}
