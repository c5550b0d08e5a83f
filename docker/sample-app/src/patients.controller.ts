// The routes: ordinary ones, slow ones, refused ones, and two that break on purpose.

import { setTimeout as sleep } from 'node:timers/promises';
import {
  Body,
  Controller,
  Get,
  HttpCode,
  InternalServerErrorException,
  NotFoundException,
  Param,
  ParseIntPipe,
  Post,
} from '@nestjs/common';

@Controller()
export class PatientsController {
  @Get('health')
  health(): object {
    return { status: 'ok' };
  }

  @Get('api/patients')
  list(): object {
    return Array.from({ length: 20 }, (_, id) => ({ id, ward: `W-${1000 + id}` }));
  }

  @Get('api/patients/:id')
  one(@Param('id', ParseIntPipe) id: number): object {
    if (id >= 900) throw new NotFoundException(`no patient ${id}`);
    return { id, ward: `W-${1000 + id}` };
  }

  @Post('api/patients')
  create(@Body() patient: object): object {
    return { id: 1, ...patient };
  }

  @Get('api/reports/:id')
  async report(@Param('id', ParseIntPipe) id: number): Promise<object> {
    await sleep(2100);
    return { id, pages: 12 };
  }

  @Get('api/billing')
  billing(): object {
    throw new InternalServerErrorException('the billing service does not answer');
  }

  @Post('api/break/exception')
  @HttpCode(202)
  exception(): object {
    setTimeout(() => {
      throw new Error('thrown outside of any request');
    }, 1);
    return { accepted: true };
  }

  @Post('api/break/rejection')
  @HttpCode(202)
  rejection(): object {
    void Promise.reject(new Error('rejected, and nobody listens'));
    return { accepted: true };
  }
}
