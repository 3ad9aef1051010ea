import { Body, Controller, Delete, Get, HttpCode, NotFoundException, Param, Post, Req } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { KEY_SCOPES } from '#contracts';
import type { ApiKey } from '#database';
import { Access } from '../access/access.decorator.js';
import { callerOf } from '../access/caller.js';
import { Documented } from '../docs/documented.js';
import { isId, line, validated } from '../http/validation.js';
import { ApiKeys } from './api-keys.js';
import * as docs from './keys.docs.js';

/** The end of the year 9999, the last one with four digits. */
const LATEST_MS = Date.UTC(9999, 11, 31);

const newKey = z.strictObject({
  name: line(100),
  scope: z.enum(KEY_SCOPES),
  expiresOn: z.int().max(LATEST_MS).optional(),
});

/** The API keys. No API key manages them, so a leaked key cannot create others. */
@Controller('auth/v1/keys')
export class KeysController {
  constructor(private readonly keys: ApiKeys) {}

  @Access({ needs: 'session' })
  @Documented(docs.listKeys)
  @Get()
  async list(): Promise<docs.KeysView> {
    return { keys: (await this.keys.list()).map(view) };
  }

  /** The only answer that contains the key's text. */
  @Access({ needs: 'session', audit: 'key.create' })
  @Documented(docs.createKey, { body: newKey })
  @Post()
  async create(@Body() body: unknown, @Req() request: FastifyRequest): Promise<docs.NewKeyView> {
    const { name, scope, expiresOn } = validated(newKey, body);
    const { key, text } = await this.keys.create(callerOf(request).id, {
      name,
      scope,
      expiresOn: expiresOn === undefined ? null : new Date(expiresOn),
    });
    return { ...view(key), key: text };
  }

  @Access({ needs: 'session', audit: 'key.revoke' })
  @Documented(docs.revokeKey)
  @Delete(':id')
  @HttpCode(204)
  async revoke(@Param('id') id: string): Promise<void> {
    if (!isId(id) || !(await this.keys.revoke(id)))
      throw new NotFoundException('There is no key of this id.');
  }
}

function view({ id, name, scope, account, createdOn, expiresOn, lastUsedOn }: ApiKey): docs.KeyView {
  return {
    id,
    name,
    scope,
    createdBy: account.email,
    createdOn: createdOn.getTime(),
    expiresOn: expiresOn?.getTime() ?? null,
    lastUsedOn: lastUsedOn?.getTime() ?? null,
  };
}
