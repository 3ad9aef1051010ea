import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Controller, Get, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** A file as it is sent. */
interface Asset {
  content: Buffer;
  type: string;
  etag: string;
}

/** What the pages are made of, beside themselves. Read once: it comes with the program. */
@ApiExcludeController()
@Controller('admin/assets')
export class AssetsController {
  private readonly style = asset('console.css', 'text/css; charset=utf-8');
  private readonly script = asset('console.js', 'text/javascript; charset=utf-8');
  private readonly icon = asset('icon.svg', 'image/svg+xml');

  @Get('console.css')
  sendStyle(@Req() request: FastifyRequest, @Res() reply: FastifyReply): void {
    send(request, reply, this.style);
  }

  @Get('console.js')
  sendScript(@Req() request: FastifyRequest, @Res() reply: FastifyReply): void {
    send(request, reply, this.script);
  }

  @Get('icon.svg')
  sendIcon(@Req() request: FastifyRequest, @Res() reply: FastifyReply): void {
    send(request, reply, this.icon);
  }
}

function asset(name: string, type: string): Asset {
  const content = readFileSync(join(__dirname, 'assets', name));
  return { content, type, etag: `"${createHash('sha256').update(content).digest('base64url')}"` };
}

/** Kept for an hour, and after that asked for by its hash: a new version is seen soon. */
function send(request: FastifyRequest, reply: FastifyReply, { content, type, etag }: Asset): void {
  void reply.header('Cache-Control', 'public, max-age=3600').header('ETag', etag);
  if (request.headers['if-none-match'] === etag) void reply.status(304).send();
  else void reply.header('Content-Type', type).send(content);
}
