import { Body, Controller, Get, NotFoundException, Param, Post, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { KeptDatabases } from '#queue';
import { PageAccess } from '../access/access.decorator.js';
import { callerOf } from '../access/caller.js';
import { Daemons } from '../daemons/daemons.js';
import { viewOf } from '../databases/view.js';
import { expectConfirmed } from './forms.js';
import { type Fault, faultOf, Pages, redirectTo } from './pages.js';

/** The drop of a database that a restore with a swap has kept. */
@ApiExcludeController()
@Controller('admin/databases')
export class DatabasePagesController {
  constructor(
    private readonly pages: Pages,
    private readonly kept: KeptDatabases,
    private readonly daemons: Daemons,
  ) {}

  @PageAccess()
  @Get(':name/drop')
  askToDrop(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.dropForm(request, reply, name);
  }

  @PageAccess({ audit: 'database.drop' })
  @Post(':name/drop')
  async drop(
    @Param('name') name: string,
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    try {
      expectConfirmed(body, name);
      const { id } = await this.daemons.startDrop(callerOf(request).email, name);
      request.made = id;
      redirectTo(reply, `/admin/daemons/${id}`, 'drop-started');
    } catch (error) {
      return this.dropForm(request, reply, name, faultOf(error));
    }
  }

  private async dropForm(
    request: FastifyRequest,
    reply: FastifyReply,
    name: string,
    fault?: Fault,
  ): Promise<void> {
    const record = await this.kept.find(name);
    if (record === undefined)
      throw new NotFoundException('No swap of this installation keeps a database of this name.');
    this.pages.show(request, reply, {
      view: 'drop-database',
      title: `Drop ${name}`,
      section: 'daemons',
      data: { database: viewOf(record) },
      fault,
    });
  }
}
