import { MiddlewareConsumer, Module, NestModule } from '@nestjs/common';
import { WinstonModule } from 'nest-winston';
import { loggerOptions } from './logging';
import { PatientsController } from './patients.controller';
import { RequestLoggingMiddleware } from './request-logging.middleware';

@Module({
  imports: [WinstonModule.forRoot(loggerOptions)],
  controllers: [PatientsController],
})
export class AppModule implements NestModule {
  configure(consumer: MiddlewareConsumer): void {
    consumer.apply(RequestLoggingMiddleware).forRoutes('*path');
  }
}
