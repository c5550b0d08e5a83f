'use strict';

// The logger of a NestJS backend: four families of daily files that also rotate by size.
// combined gets everything, errors what is an error, exceptions and rejections what nobody caught.

const path = require('node:path');
const winston = require('winston');
const DailyRotateFile = require('winston-daily-rotate-file');

const { combine, errors, printf, timestamp } = winston.format;

const line = printf(({ timestamp: time, level, service, environment, ...rest }) =>
  JSON.stringify({ timestamp: time, level, service, environment, ...rest }));

/** Returns { logger, transports: { combined, errors, exceptions, rejections } }. */
function createLogger(options) {
  const rotation = {
    datePattern: options.datePattern,
    zippedArchive: options.zippedArchive,
    maxSize: options.maxSize,
    maxFiles: options.maxFiles,
    createSymlink: options.createSymlink,
    utc: options.utc,
  };
  const file = (family, more) => new DailyRotateFile({
    ...rotation,
    filename: path.join(options.dir, `${family}-%DATE%.log`),
    symlinkName: options.symlinkName.replace('%FAMILY%', family),
    auditFile: path.join(options.dir, `.${family}-audit.json`),
    ...more,
  });
  const format = combine(timestamp(), errors({ stack: true }), line);
  const transports = {
    combined: file('combined', { format }),
    errors: file('errors', { format, level: 'error' }),
    exceptions: file('exceptions'),
    rejections: file('rejections'),
  };
  const logger = winston.createLogger({
    level: 'info',
    // Handlers ignore their transport's format: they get the logger's, by default JSON that has only `date`.
    format: options.handlerTimestamps ? format : undefined,
    defaultMeta: { service: 'caredroid-backend', environment: options.environment },
    transports: [transports.combined, transports.errors],
    exceptionHandlers: [transports.exceptions],
    rejectionHandlers: [transports.rejections],
    exitOnError: false,
  });
  return { logger, transports };
}

module.exports = { createLogger };
