import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Account, Session } from '#database';
import { Accounts } from './accounts.js';
import { LoginLimits } from './login-limits.js';
import { Login } from './login.js';
import { SessionController } from './session.controller.js';
import { Sessions } from './sessions.js';

@Module({
  imports: [TypeOrmModule.forFeature([Account, Session])],
  controllers: [SessionController],
  providers: [Accounts, LoginLimits, Login, Sessions],
  exports: [Accounts, Login, Sessions],
})
export class AuthModule {}
