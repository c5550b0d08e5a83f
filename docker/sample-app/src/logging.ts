// Winston with four rotating files: combined, errors (which repeats the errors of combined), exceptions, rejections.
// The last two carry Winston's own `date` instead of an ISO timestamp, because no timestamp format is put on them.

import { format, transports, type LoggerOptions } from 'winston';
import DailyRotateFile from 'winston-daily-rotate-file';
import { settings } from './settings';

const MESSAGE = Symbol.for('message');

// Winston's json format sorts the keys; a person reading the file wants the time first.
const timestampFirst = format((info) => {
  const { timestamp, level, service, environment, ...rest } = info;
  info[MESSAGE] = JSON.stringify({ timestamp, level, service, environment, ...rest });
  return info;
});

const line = format.combine(format.errors({ stack: true }), format.timestamp(), timestampFirst());

function rotating(family: string, options: { level?: string; format: typeof line }): DailyRotateFile {
  return new DailyRotateFile({
    dirname: settings.logDirectory,
    filename: `${family}-%DATE%.log`,
    datePattern: 'YYYY-MM-DD',
    maxSize: settings.logMaxSize,
    maxFiles: settings.logMaxFiles,
    zippedArchive: true,
    ...options,
  });
}

export const loggerOptions: LoggerOptions = {
  level: 'info',
  defaultMeta: { service: settings.service, environment: settings.environment },
  transports: [
    new transports.Console({ level: 'warn', format: line }),
    rotating('combined', { format: line }),
    rotating('errors', { level: 'error', format: line }),
  ],
  exceptionHandlers: [rotating('exceptions', { format: format.json() })],
  rejectionHandlers: [rotating('rejections', { format: format.json() })],
  // One broken request must not end a service; the file says what happened.
  exitOnError: false,
};
