import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Account, ApiKey, LoginSession } from '#database';
import { AuditModule } from '../audit/audit.module.js';
import { AccountsController } from './accounts.controller.js';
import { Accounts } from './accounts.js';
import { ApiKeys } from './api-keys.js';
import { Callers } from './callers.js';
import { KeysController } from './keys.controller.js';
import { LoginLimits } from './login-limits.js';
import { LoginSessions } from './login-sessions.js';
import { Login } from './login.js';
import { SessionController } from './session.controller.js';

@Module({
  imports: [TypeOrmModule.forFeature([Account, ApiKey, LoginSession]), AuditModule],
  controllers: [AccountsController, KeysController, SessionController],
  providers: [Accounts, ApiKeys, Callers, LoginLimits, Login, LoginSessions],
  exports: [Accounts, Callers, Login, LoginSessions],
})
export class AuthModule {}
