// One line a request, written when the answer is complete.

import { randomBytes } from 'node:crypto';
import { Inject, Injectable, NestMiddleware } from '@nestjs/common';
import type { NextFunction, Request, Response } from 'express';
import { WINSTON_MODULE_PROVIDER } from 'nest-winston';
import type { Logger } from 'winston';

function levelOf(statusCode: number): 'error' | 'warn' | 'info' {
  if (statusCode >= 500) return 'error';
  return statusCode >= 400 ? 'warn' : 'info';
}

@Injectable()
export class RequestLoggingMiddleware implements NestMiddleware {
  constructor(@Inject(WINSTON_MODULE_PROVIDER) private readonly logger: Logger) {}

  use(request: Request, response: Response, next: NextFunction): void {
    const began = performance.now();
    const requestId = request.header('x-request-id') ?? `req-${randomBytes(4).toString('hex')}`;
    response.setHeader('x-request-id', requestId);
    response.on('finish', () => {
      // An object without a message: Winston writes its fields and nothing else.
      this.logger.log({
        level: levelOf(response.statusCode),
        requestId,
        method: request.method,
        url: request.originalUrl,
        statusCode: response.statusCode,
        duration: Math.round(performance.now() - began),
        userId: request.header('x-user-id'),
        ip: request.ip,
        contentLength: Number(response.getHeader('content-length') ?? 0),
      } as never);
    });
    next();
  }
}
