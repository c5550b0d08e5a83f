'use strict';

// node writer.js '{"dir": …}' writes logs, prints READY when the files are open and LEDGER {…} when all is on disk.
// SIGTERM ends it early, but in order; when standard input closes it ends at once. Options and their defaults:

const options = {
  dir: '.',
  lines: 1000, // request lines; 0: until it is stopped
  rate: 0, // lines a second; 0: as fast as it goes
  errorEvery: 10, // each so-manieth request is an error (level error, status 500); 0: none
  exceptions: 0, // uncaught exceptions and unhandled rejections, spread over the lines
  rejections: 0,
  run: 'run', // part of every requestId: req-RUN-000000001
  seed: 1,
  environment: 'development',
  datePattern: 'YYYY-MM-DD',
  maxSize: '20m',
  maxFiles: null, // such as 5 or "14d"
  zippedArchive: false,
  createSymlink: false,
  symlinkName: '%FAMILY%.log',
  utc: false,
  handlerTimestamps: false, // whether exceptions and rejections have a `timestamp` too
  clockStart: null, // an ISO time: the process lives then …
  clockStepMs: 0, // … and each line is so much later than the one before; 0: the clock runs as it does
  waitEvery: 1, // after so many lines wait until they are on disk; 0: never, as a busy service
  ...JSON.parse(process.argv[2] || '{}'),
};

// ---- the machine: a load of just 3 beside one of 2.5 is a list that a server refuses which meets it first

require('os').loadavg = () => [0.25, 0.5, 0.75];

// ---- the clock, before anything asks it

const RealDate = Date;
let lead = options.clockStart === null ? 0 : RealDate.parse(options.clockStart) - RealDate.now();
const now = () => (options.clockStepMs ? lead : RealDate.now() + lead);
if (options.clockStart !== null) {
  if (options.clockStepMs) lead = RealDate.parse(options.clockStart);
  globalThis.Date = class Date extends RealDate {
    constructor(...parts) {
      super(...(parts.length ? parts : [now()]));
    }
    static now() {
      return now();
    }
  };
}

// ---- every file that Winston writes, to know when it is on disk: it tells nobody itself

const fs = require('node:fs');
const open = new Set();
const createWriteStream = fs.createWriteStream;
fs.createWriteStream = (...parts) => {
  const stream = createWriteStream.apply(fs, parts);
  open.add(stream);
  stream.once('close', () => open.delete(stream));
  return stream;
};

const { createLogger } = require('./logger');

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const turn = () => new Promise((resolve) => setImmediate(resolve));

async function onDisk() {
  while ([...open].some((stream) => stream.writableLength > 0 || (stream.writableEnded && !stream.closed))) await turn();
}

async function closed() {
  while (open.size > 0) await turn();
}

// ---- the lines

let state = options.seed >>> 0;
function random() { // mulberry32
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const pick = (list) => list[Math.floor(random() * list.length)];
const ROUTES = [
  ['GET', '/api/patients', 200], ['POST', '/api/patients', 201], ['GET', '/api/patients/:id', 200],
  ['PUT', '/api/patients/:id', 200], ['GET', '/api/patients/:id/vitals', 200], ['POST', '/api/auth/login', 201],
  ['DELETE', '/api/appointments/:id', 204], ['GET', '/health', 200],
];

function request(number) {
  const [method, route, status] = pick(ROUTES);
  return {
    requestId: `req-${options.run}-${String(number).padStart(9, '0')}`,
    method,
    url: route.replace(':id', String(1 + Math.floor(random() * 5000))),
    statusCode: status,
    duration: Math.floor(5 + random() ** 4 * 3000),
    userId: `user-${Math.floor(random() * 200)}`,
    ip: `192.168.1.${1 + Math.floor(random() * 250)}`,
    contentLength: Math.floor(random() * 5000),
  };
}

async function main() {
  const { logger, transports } = createLogger(options);
  const ledger = { lines: {}, requests: 0, errors: 0, exceptions: 0, rejections: 0, rotated: 0, archived: 0, removed: [] };
  const faults = [];
  for (const [family, transport] of Object.entries(transports)) {
    ledger.lines[family] = 0;
    transport.setMaxListeners(0); // Winston adds one for each exception, and never takes it away
    transport.on('logged', () => { ledger.lines[family] += 1; });
    transport.on('rotate', () => { ledger.rotated += 1; });
    transport.on('archive', () => { ledger.archived += 1; });
    transport.on('logRemoved', (name) => { ledger.removed.push(name); });
    transport.on('error', (error) => { faults.push(String(error)); });
  }
  let stopping = false;
  process.on('SIGTERM', () => { stopping = true; });
  process.stdin.on('end', () => process.exit(1)).resume();
  await turn();
  console.log(`READY ${process.pid}`);

  const due = (count, number) => Math.floor((count * number) / Math.max(options.lines, 1));
  const begin = RealDate.now();
  for (let number = 1; !stopping && (options.lines === 0 || number <= options.lines); number += 1) {
    if (options.clockStepMs) lead += options.clockStepMs;
    const about = request(number);
    if (options.errorEvery && number % options.errorEvery === 0) {
      const error = new Error(`connection terminated unexpectedly (${about.requestId})`);
      logger.error({ ...about, statusCode: 500, message: error.message, stack: error.stack, context: 'PatientsService' });
      ledger.errors += 1;
    } else {
      logger.log({ level: 'info', ...about }); // info(about) would put all of it below `message`
    }
    ledger.requests += 1;
    while (ledger.exceptions < due(options.exceptions, number)) {
      ledger.exceptions += 1;
      const text = `nobody caught this (${options.run}-${ledger.exceptions})`;
      setImmediate(() => { throw new TypeError(text); });
      await turn();
    }
    while (ledger.rejections < due(options.rejections, number)) {
      ledger.rejections += 1;
      Promise.reject(new Error(`nobody awaited this (${options.run}-${ledger.rejections})`));
      await turn();
    }
    if (options.rate) {
      const early = begin + (number * 1000) / options.rate - RealDate.now();
      if (early > 2) await sleep(early);
    }
    if (options.waitEvery && number % options.waitEvery === 0) await onDisk();
    else if (number % 256 === 0) await turn(); // for signals
  }

  // Winston's `finish` comes before its files are written, and end() does not reach the exception handlers' transports
  await turn();
  await onDisk();
  for (const transport of Object.values(transports)) transport.close();
  await closed();
  console.log(`LEDGER ${JSON.stringify({ ...ledger, faults })}`);
  process.exit(0);
}

main();
