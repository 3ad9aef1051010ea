import { Body, Controller, Get, NotFoundException, Param, Post, Req } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { DaemonStatus } from '#contracts';
import { DaemonQueue } from '#queue';
import { validated } from '../http/validated.js';

const nothing = z.strictObject({});

@Controller('repo/v1')
export class DaemonsController {
  constructor(private readonly daemons: DaemonQueue) {}

  @Post('startBackupDaemon')
  startBackup(@Body() body: unknown, @Req() request: FastifyRequest): Promise<DaemonStatus> {
    validated(nothing, body);
    return this.daemons.start('BACKUP', request.account?.email ?? '');
  }

  @Get('daemonStatus/:id')
  async status(@Param('id') id: string): Promise<DaemonStatus> {
    // Ids are counted from 1 by the queue; anything else is no id and need not be looked up.
    const status = /^[1-9]\d{0,18}$/.test(id) ? await this.daemons.status(id) : undefined;
    if (status === undefined) throw new NotFoundException('There is no daemon of this id.');
    return status;
  }
}
