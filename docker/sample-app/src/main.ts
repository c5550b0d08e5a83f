import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { WINSTON_MODULE_NEST_PROVIDER } from 'nest-winston';
import { AppModule } from './app.module';
import { startLoad } from './load';
import { settings } from './settings';

async function main(): Promise<void> {
  // Connections that are kept alive would hold up a stop for as long as their owners like.
  const app = await NestFactory.create(AppModule, { bufferLogs: true, forceCloseConnections: true });
  app.useLogger(app.get(WINSTON_MODULE_NEST_PROVIDER));
  app.enableShutdownHooks();
  await app.listen(settings.port, '0.0.0.0');
  startLoad();
}

void main();
