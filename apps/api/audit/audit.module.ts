import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditEvent, AuditOutcome } from '#database';
import { AuditController } from './audit.controller.js';
import { Audit } from './audit.js';

@Module({
  imports: [TypeOrmModule.forFeature([AuditEvent, AuditOutcome])],
  controllers: [AuditController],
  providers: [Audit],
  exports: [Audit],
})
export class AuditModule {}
