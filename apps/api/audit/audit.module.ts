import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditEvent, AuditOutcome } from '#database';
import { AuditController } from './audit.controller.js';
import { Audit } from './audit.js';
import { Refusals } from './refusals.js';

@Module({
  imports: [TypeOrmModule.forFeature([AuditEvent, AuditOutcome])],
  controllers: [AuditController],
  providers: [Audit, Refusals],
  exports: [Audit, Refusals],
})
export class AuditModule {}
