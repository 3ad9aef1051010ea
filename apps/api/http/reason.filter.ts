import { type ArgumentsHost, Catch, type ExceptionFilter } from '@nestjs/common';
import { sendReason } from './reason.js';

/** Gives every error that a route throws the form that clients know. */
@Catch()
export class ReasonFilter implements ExceptionFilter {
  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    void sendReason(error, http.getRequest(), http.getResponse());
  }
}
