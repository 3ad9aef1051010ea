import {
  BadRequestException,
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Inject,
  NotFoundException,
  Param,
  Post,
  Req,
} from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Settings } from '#config';
import { type DaemonStatus, Failure } from '#contracts';
import { DaemonQueue } from '#queue';
import { archiveKey, ObjectStore } from '#storage';
import { validated } from '../http/validated.js';
import { SETTINGS } from '../settings.js';

const nothing = z.strictObject({});
const url = z.string('the url must be a text').min(1).max(2048);
const restoreRequest = z.strictObject({
  url,
  allowExtraTables: z.boolean().default(false),
  backupFirst: z.boolean().default(false),
});
const verifyRequest = z.strictObject({
  url,
  allowExtraTables: z.boolean().default(false),
  restoreDrill: z.boolean().default(false),
});

@Controller('repo/v1')
export class DaemonsController {
  constructor(
    private readonly daemons: DaemonQueue,
    private readonly store: ObjectStore,
    @Inject(SETTINGS) private readonly settings: Settings,
  ) {}

  @Post('startBackupDaemon')
  startBackup(@Body() body: unknown, @Req() request: FastifyRequest): Promise<DaemonStatus> {
    validated(nothing, body);
    return this.daemons.start('BACKUP', startedBy(request));
  }

  @Post('startRestoreDaemon')
  startRestore(@Body() body: unknown, @Req() request: FastifyRequest): Promise<DaemonStatus> {
    const { url, ...options } = validated(restoreRequest, body);
    return this.daemons.start('RESTORE', startedBy(request), { ...this.archiveAt(url), ...options });
  }

  @Post('startVerifyDaemon')
  startVerify(@Body() body: unknown, @Req() request: FastifyRequest): Promise<DaemonStatus> {
    const { url, ...options } = validated(verifyRequest, body);
    return this.daemons.start('VERIFY', startedBy(request), { ...this.archiveAt(url), ...options });
  }

  @Get('daemonStatus/:id')
  async status(@Param('id') id: string): Promise<DaemonStatus> {
    const status = isId(id) ? await this.daemons.status(id) : undefined;
    if (status === undefined) throw noSuchDaemon();
    return status;
  }

  @Delete('terminateDaemon/:id')
  @HttpCode(204)
  async terminate(@Param('id') id: string): Promise<void> {
    if (!isId(id) || !(await this.daemons.terminate(id))) throw noSuchDaemon();
  }

  /** Only a key of our own bucket goes on from here, never an address that a client chose. */
  private archiveAt(address: string): { key: string; url: string } {
    try {
      const key = archiveKey(address, this.settings.store);
      return { key, url: this.store.url(key) };
    } catch (error) {
      if (error instanceof Failure) throw new BadRequestException(error.sentence);
      throw error;
    }
  }
}

/** Ids are counted from 1 by the queue; anything else is no id and need not be looked up. */
function isId(text: string): boolean {
  return /^[1-9]\d{0,18}$/.test(text);
}

function noSuchDaemon(): NotFoundException {
  return new NotFoundException('There is no daemon of this id.');
}

function startedBy(request: FastifyRequest): string {
  return request.account?.email ?? '';
}
